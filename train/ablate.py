"""Takes trained adapters out of some layers and scores what is left, as the paper's figure 6.

    python -m train.ablate --run=runs/mnli-adapters64-seed0

For every span of layers i to j the run's dev split is scored without their adapters; nothing is
trained again. `ablation.json` in the run's folder takes the scores, and `train.report` draws
them; the run itself stays as it is.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tqdm
from absl import flags

from keras_adapters.atomic import write_text
from train import command
from train.quiet import quiet_tensorflow
from train.study.runs import ABLATION, Run, read_runs

FLAGS = flags.FLAGS


def main(argv: Sequence[str]) -> None:
    """Ablates the runs, one after the other."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        runs = find_runs(FLAGS.run or (), FLAGS.runs, FLAGS.split)
        targets = [_target(run, FLAGS.output_dir, len(runs)) for run in runs]
        quiet_tensorflow(FLAGS.tensorflow_log)
        for run, target in zip(runs, targets, strict=True):
            print(write_scores(run, target, FLAGS.split))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def find_runs(paths: Sequence[str], below: str | None, split: str) -> list[Run]:
    """Returns the runs to be ablated.

    Args:
      paths: folders of runs, each of which must be finished and have adapters.
      below: a folder whose runs are taken too, if they are finished and have adapters.
      split: what they must have been scored on.

    Raises:
      ValueError: a run is not what it must be, is named twice, or there is none.
      OSError: a folder is not there.
    """
    if not paths and below is None:
        raise ValueError("--run must name a run's folder, or --runs a folder of several")
    found = [_read(path) for path in paths]
    if below is not None:
        runs, left_out = read_runs(below)
        without = [f"{run.path}: it has no adapters" for run in runs if run.insertion is None]
        for problem in (*left_out, *without):
            print(f"Left out: {problem}", file=sys.stderr)
        found += [run for run in runs if run.insertion is not None]
        if not found:
            raise ValueError(f"--runs={below} holds no finished run with adapters")
    if len({run.path.resolve() for run in found}) < len(found):
        raise ValueError("--run and --runs must not name a run twice")
    for run in found:
        if split not in run.splits:
            raise ValueError(
                f"--split must be one that {run.path} was evaluated on, {', '.join(run.splits)}. "
                f"Received: {split!r}"
            )
    return found


def _read(path: str) -> Run:
    folder = pathlib.Path(path)
    try:
        runs, left_out = read_runs(folder)
    except OSError as error:
        raise type(error)(f"--run={error}") from error
    if [run.path for run in runs] != [folder]:
        own = (problem for problem in left_out if problem.startswith(f"{folder}: "))
        raise ValueError(f"--run={next(own, f'{folder}: it is not a run')}")
    if runs[0].insertion is None:
        raise ValueError(f"--run={folder} has no adapters: its method is {runs[0].method}")
    return runs[0]


def _target(run: Run, output_dir: str | None, runs: int) -> pathlib.Path:
    """Returns where a run's scores go; raises before the work where they cannot."""
    if output_dir is not None and runs > 1:
        raise ValueError(f"--output_dir takes the scores of one run. Received: {runs} runs")
    folder = pathlib.Path(output_dir) if output_dir is not None else run.path
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written")
    return folder / ABLATION


def write_scores(run: Run, target: pathlib.Path, split: str) -> str:
    """Writes what `train.study.ablation.ablate` finds; returns it in words.

    Args:
      run: a finished run with adapters.
      target: the file to write, whole or not at all.
      split: what to score on.

    Raises:
      OSError, ValueError: as `ablate` says, or the file cannot be written.
    """
    from train.study.ablation import ablate  # Imports TensorFlow.

    with tqdm.tqdm(desc=run.path.name, unit=" evaluations") as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        found = ablate(run, split, progress)
    write_text(target, json.dumps(found, indent=2) + "\n")
    return _summary(run, found, target)


def _summary(run: Run, found: Mapping[str, Any], target: pathlib.Path) -> str:
    base, split = found["base_score"], found["split"]
    lines = [f"{run.path}, {split} {found['metric']} {100 * base:.2f}"]
    if abs(base - run.score(split)) > 5e-5:
        lines.append(f"  as it was trained    {100 * run.score(split):.2f}: it was another machine")
    single = [(score, first) for first, last, score in found["scores"] if first == last]
    worst, layer = min(single)
    lines.append(f"  without one layer's  {100 * worst:.2f} at the worst, without layer {layer}'s")
    lines.append(f"  without any          {100 * found['all_removed']:.2f}")
    if found["majority_score"] is not None:
        lines.append(f"  always one answer    {100 * found['majority_score']:.2f}")
    return "\n".join([*lines, f"  scores               {target}"])


def define_flags() -> None:
    """Defines the flags: not at import, for other commands have flags of the same names."""
    flags.DEFINE_multi_string("run", None, "Folder of a finished run; may be given several times.")
    flags.DEFINE_string("runs", None, "A folder: all finished runs below it that have adapters.")
    flags.DEFINE_string("split", "dev", "What to score on, such as test.")
    flags.DEFINE_string("output_dir", None, "Of ablation.json. Default: the run's folder.")


if __name__ == "__main__":
    define_flags()
    command.run(main, outlives_readers=True)
