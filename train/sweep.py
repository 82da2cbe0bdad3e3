"""Trains every combination of settings, side by side: `python -m train.sweep`.

    python -m train.sweep --tasks=reuters_r8 --methods=adapters,full \
      --adapter_sizes=8,64 --learning_rates=3e-4,3e-3 --seeds=3 --output_dir=sweeps/r8

Each run is a `python -m train.run` of its own in `OUT/runs`; `OUT/logs` has what they print.
Flags of `train.run` may stand among the others and are given to each run. `--grid` names one of
the paper's grids, or a file. Stopped at any time, the same command goes on; what has failed is
tried again. At the end it tells the settings that are best on dev, with their scores on test.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence

import tqdm
from absl import flags

from train import command
from train.fit.interruptions import Interruptions, Preempted, end_process
from train.ray_extra import check_installed
from train.study.estimate import estimate, in_words
from train.study.execution import Command, Ended, execute
from train.study.grids import GRIDS, make_block, read_grid, restrict
from train.study.plan import AXES, SET_BY_SWEEP, Block, PlannedRun, plan
from train.study.run_flags import RunFlags
from train.study.sweep_folder import SweepFolder

FLAGS = flags.FLAGS
_PROMISE = "the runs save their state and end"


def main(argv: Sequence[str]) -> None:
    """Reads the flags, runs what has not finished and tells the best settings."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        runs = plan(_blocks(), _common_flags())
        folder = SweepFolder(FLAGS.output_dir)
        folder.check(runs)
        if FLAGS.dry_run:
            print(describe(runs, folder))
            return
        check_installed("train.sweep")
        with Interruptions("running") as interruptions, contextlib.closing(folder.lock()):
            folder.add(runs)
            failed = run_all(runs, folder, interruptions)
        print(closing_table(folder))
    except Preempted as error:
        end_process(error)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if failed:
        sys.exit(
            f"error: {len(failed)} of {len(runs)} runs failed: {', '.join(failed)}. The same "
            "command tries them again"
        )


def run_all(
    runs: Sequence[PlannedRun], folder: SweepFolder, interruptions: Interruptions
) -> list[str]:
    """Runs what has not finished; returns the names of the runs that failed.

    Args:
      runs: the plan, which stands in the folder.
      folder: the sweep's, locked.
      interruptions: tells of signals.

    Raises:
      Preempted: a signal came; the runs at work have saved their state.
      OSError: there is no cluster, or Ray cannot start.
    """
    todo = [run for run in runs if folder.results(run.name) is None]
    if not todo:
        return []
    before = len(runs) - len(todo)
    with tqdm.tqdm(total=len(runs), initial=before, desc="runs", unit="run", smoothing=0) as bar:
        watch = _Watch(bar, folder)
        with interruptions.during("starting Ray"):
            execute(
                [_command(run, folder) for run in todo],
                FLAGS.ray_address,
                FLAGS.runs_at_once,
                watch.tell,
                lambda: interruptions.asked is not None,
                lambda: interruptions.deferred(_PROMISE),
            )
    return watch.failed


def _command(run: PlannedRun, folder: SweepFolder) -> Command:
    path = folder.of_run(run.name).resolve()  # Relative paths of others are those of this folder.
    arguments = ("-m", "train.run", *run.flags, f"--output_dir={path}")
    return Command(run.name, arguments, path, folder.log_of(run.name).resolve(), os.getcwd())


class _Watch:
    """Shows what becomes of the runs, and keeps the names of those that fail in `failed`."""

    def __init__(self, bar: tqdm.tqdm, folder: SweepFolder) -> None:
        self.failed: list[str] = []
        self._bar = bar
        self._folder = folder

    def tell(self, running: int, ended: Ended | None) -> None:
        """Is told how many runs are at work, and which one has ended, if one has."""
        if ended is not None:
            problem = ended.problem or self._missing(ended.name)
            if problem:
                self.failed.append(ended.name)
                log = self._folder.log_of(ended.name)
                self._bar.write(f"failed: {ended.name}: {problem}. See {log}", file=sys.stderr)
            else:
                self._bar.update()
        before = self._bar.postfix
        self._bar.set_postfix(running=running, failed=len(self.failed), refresh=False)
        if self._bar.postfix != before or sys.stderr.isatty():  # A file is spared the clock.
            self._bar.refresh()

    def _missing(self, name: str) -> str | None:
        if self._folder.results(name) is not None:
            return None
        return (
            "it ended well, but there are no results of it here. Name an --output_dir that is the "
            "same folder on all machines"
        )


def describe(runs: Sequence[PlannedRun], folder: SweepFolder) -> str:
    """Returns the runs of a plan, how far each is, and how long they will take."""
    lines, todo, finished = [], [], []
    for run in runs:
        results = folder.results(run.name)
        if results is None:
            todo.append(run.config)
            state = "begun" if folder.has_begun(run.name) else "to do"
        else:
            finished.append((run.config, results))
            state = "finished"
        lines.append(f"{run.name} ({state}): {shlex.join(run.flags)}")
    lines.append(f"{len(runs)} runs, {len(finished)} of them finished.")
    if not todo:
        return "\n".join(lines)
    if not finished:
        return "\n".join([*lines, "None has finished yet, so how long they take is not known."])
    told = estimate(todo, finished)
    if told.known:
        at_once = FLAGS.runs_at_once or 1
        how = f"{at_once} at once" if at_once > 1 else "one after the other"
        lines.append(
            f"About {in_words(told.seconds / at_once)} for {told.known} of the {len(todo)} others, "
            f"{how}, judged by the {len(finished)} finished ones."
        )
    if told.unknown:
        lines.append(
            f"Of {len(todo) - told.known} nothing is known yet: no run on as many examples of "
            f"{', '.join(told.unknown)} has finished."
        )
    return "\n".join(lines)


def closing_table(folder: SweepFolder) -> str:
    """Returns, for each task and method, the settings that are best on dev, and their scores.

    Sizes of adapters and numbers of top layers are chosen on dev too.
    """
    from train.study.evidence import Score, points
    from train.study.runs import read_runs
    from train.study.selection import WIDTHS, best
    from train.study.table import shown

    runs, left_out = read_runs(folder.runs)
    if not runs:
        return "No run has finished."
    heading = ("task", "encoder", "train examples", "method", "dev", "test", "learning rate")
    rows = [(*heading, "epochs", "settings tried")]
    for selected in best(runs, WIDTHS):
        group = selected.chosen
        first = group.first
        scores = [
            shown(Score.of(list(points(group, split).values())) if split in first.splits else None)
            for split in ("dev", "test")
        ]
        settings = [shown(group.settings.get(name), "g") for name in ("learning_rate", "epochs")]
        trained_on = (
            first.task,
            first.encoder or shown(None),
            shown(first.results["examples"].get("train")),
        )
        rows.append((*trained_on, first.label, *scores, *settings, shown(len(selected.tried))))
    columns = [
        column
        for column in zip(*rows, strict=True)
        if column[0] not in ("encoder", "train examples") or len(set(column[1:])) > 1
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    lines.append("Chosen by the mean score on dev; scores in points, mean ± deviation (seeds).")
    if left_out:
        lines.append(f"{len(left_out)} further runs of this folder have not finished.")
    return "\n".join(lines)


def _blocks() -> tuple[Block, ...]:
    """Returns what the flags ask for.

    Raises:
      OSError, ValueError: as `read_grid` and `Block` say; or flags contradict each other.
    """
    given = {axis.name: FLAGS[axis.name].value for axis in AXES if FLAGS[axis.name].present}
    if FLAGS.grid is None:
        if not FLAGS.tasks:
            raise ValueError("--tasks must name the tasks, or --grid a grid")
        methods = FLAGS.methods or ["adapters"]
        block = make_block(FLAGS.tasks, methods, given, FLAGS.seeds or 1, {}, RunFlags())
        return (block,)
    for name in (*given, *(["methods"] if FLAGS.methods else [])):
        raise ValueError(f"--{name} and --grid={FLAGS.grid} both say what is varied: give one")
    return restrict(read_grid(FLAGS.grid), FLAGS.tasks, FLAGS.seeds)


def _common_flags() -> tuple[str, ...]:
    """Returns the flags of `train.run` that were given, and what a sweep leaves out by itself."""
    given = [name for name in RunFlags().names if name in FLAGS and name not in SET_BY_SWEEP]
    common = [FLAGS[name].serialize() for name in given if FLAGS[name].present]
    # Hundreds of models that nobody has asked for: the chosen run's command makes its own.
    return tuple(common if FLAGS["export"].present else [*common, "--noexport"])


def define_flags() -> None:
    """Defines the flags, those of `train.run` among them but for what a sweep sets itself."""
    for name in SET_BY_SWEEP:
        if name in FLAGS:
            delattr(FLAGS, name)
    flags.DEFINE_list("tasks", None, "Tasks of train.run; of a grid, those that are wanted.")
    flags.DEFINE_list("methods", None, "Transfer methods. Default: adapters.")
    flags.DEFINE_list("adapter_sizes", None, "With adapters: their widths.")
    flags.DEFINE_list("init_stddevs", None, "With adapters: of their initial values.")
    flags.DEFINE_list("top_layers", None, "With --methods=top_layers: how many blocks train.")
    flags.DEFINE_list("learning_rates", None, "Peak learning rates. Default: as train.run.")
    flags.DEFINE_list("epochs_grid", None, "Numbers of epochs. Default: as train.run.")
    flags.DEFINE_list("train_sizes", None, "Numbers of training examples; `all` is one too.")
    flags.DEFINE_integer(
        "seeds", None, "How many seeds, from 0 on. Default: 1, or the grid's.", lower_bound=1
    )
    flags.DEFINE_string("grid", None, f"{', '.join(GRIDS)}, or a .yaml or .json file of blocks.")
    flags.DEFINE_string("output_dir", None, "The sweep's folder.")
    flags.DEFINE_integer(
        "runs_at_once",
        None,
        "How many run at once. Default: one a GPU, or one for every four processors.",
        lower_bound=1,
    )
    flags.DEFINE_string("ray_address", None, "Of a Ray cluster to work on, as ray.init takes it.")
    flags.DEFINE_bool("dry_run", False, "Print the runs and how long they will take; run none.")
    flags.mark_flag_as_required("output_dir")


if __name__ == "__main__":
    define_flags()
    command.run(main, outlives_readers=True)
