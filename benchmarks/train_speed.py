"""Times training of adapters by this project and by AdapterHub, on the same texts.

    python -m benchmarks.train_speed --lengths=16,32,64,128 --json=speed.json --plot=speed.svg

Ours is the command itself, `train.run`; theirs is `adapter_hub_speed.py` in an environment of
its own (`benchmarks.peer`). Both are whole processes, in turn, with the same encoder, texts, batch
size, number of steps and precision, adapters of the same size in the same places, dropout and
AdamW. AdapterHub's LayerNorms are frozen, as always there; ours train unless
`--frozen_layer_norms`. Theirs computes batches of texts of like length; ours, the batches that
`train.run` makes.

The cases: `fixed`, where every text has 128 tokens; `long`, Reuters-8's texts, cut at 128;
`short`, election tweets; and `--lengths`, texts whose lengths are spread around each mean.
The BERT-base of random weights goes with `fixed` and `--lengths` alone, for a quarter of the steps.

Speeds leave out each process's first three steps. The matmul bound is what a lone product of a
step's sizes reaches, measured after each pair of runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import peer
from benchmarks.step_flops import step_flops
from benchmarks.train_speed_inputs import (
    BERT_BASE,
    Texts,
    around,
    folder_of,
    full,
    of_task,
    write_texts,
)
from benchmarks.train_speed_report import plot, table
from keras_adapters.atomic import write_text
from train.command import tensorflow_environment
from train.encoders.find import EncoderFiles
from train.results import machine, versions

_LONGEST = 128
_LONGEST_AROUND = 256
_CASES = {
    "fixed": full(_LONGEST),
    "long": of_task("reuters_r8"),
    "short": of_task("election_tweets"),
}
_PRECISIONS = ("float32", "bfloat16")
_SLOWER = 4  # Of BERT-base, this part of the steps.
_LEAST_STEPS = 8
_FIRST_STEP = "loss="  # Both sides say it on standard error.
_THEIRS = pathlib.Path(__file__).with_name("adapter_hub_speed.py")
_PRODUCT = (
    "import sys; from benchmarks.matmul_bound import bound; dtype, *shape = sys.argv[1:];"
    "print(bound(dtype, tuple(map(int, shape))))"
)


@dataclasses.dataclass(frozen=True)
class Case:
    """What both sides train.

    Args:
      name: its name.
      texts: makes its texts.
      files: the encoder's.
      encoder: the encoder's name in the table.
      precision: of the computation.
      steps: of a run.
      max_seq_length: tokens of a text at most.
      length: the texts' mean length, where that is what differs.
    """

    name: str
    texts: Texts
    files: EncoderFiles
    encoder: str
    precision: str
    steps: int
    max_seq_length: int
    length: int | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures each case, prints its line, and writes what was measured."""
    flags = read_flags(arguments)
    try:
        results = _measure_all(flags) if flags.pairs else json.loads(flags.json.read_text())
        if not flags.pairs:
            print("\n".join(table(results["cases"])))
        if flags.plot:
            plot(results, str(flags.plot))
    except (ValueError, OSError, peer.ChildError) as error:
        sys.exit(f"error: {error}")


def read_flags(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's flags; ends the process where they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    listed = {"type": lambda text: text.split(",") if text else [], "metavar": "A,B,..."}
    parser.add_argument("--cases", default=list(_CASES), help="which; may be empty", **listed)
    parser.add_argument("--lengths", default=[], help="mean tokens to sweep over", **listed)
    parser.add_argument("--precisions", default=list(_PRECISIONS), **listed)
    parser.add_argument(
        "--encoders",
        default=["minilm_l6", BERT_BASE],
        help=f"presets or folders, or {BERT_BASE}: random weights",
        **listed,
    )
    parser.add_argument("--pairs", type=int, default=3, help="runs of each side; 0: show --json")
    parser.add_argument("--steps", type=int, default=40, help="of a run")
    parser.add_argument("--batch_size", type=int, default=32, help="texts per step")
    parser.add_argument("--adapter_size", type=int, default=64, help="width of the adapters")
    parser.add_argument("--frozen_layer_norms", action="store_true", help="ours too")
    parser.add_argument("--threads", type=int, help="cores that both may use; default: all")
    parser.add_argument("--work_dir", type=pathlib.Path, default="runs/train_speed")
    parser.add_argument("--peer_python", type=pathlib.Path, help="default: found, or made")
    parser.add_argument("--json", type=pathlib.Path, help="file for all that is measured")
    parser.add_argument("--plot", type=pathlib.Path, help="of --lengths: a .svg or .png file")
    flags = parser.parse_args(arguments)
    try:
        _check(flags)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    flags.lengths = [int(length) for length in flags.lengths]
    return flags


def _check(flags: argparse.Namespace) -> None:
    for name, known in (("cases", _CASES), ("precisions", _PRECISIONS)):
        unknown = [given for given in getattr(flags, name) if given not in known]
        if unknown:
            raise ValueError(
                f"--{name} must be of {', '.join(known)}. Received: {', '.join(unknown)}"
            )
    for length in flags.lengths:
        if not length.isdecimal() or not 3 <= int(length) <= _LONGEST_AROUND:
            raise ValueError(f"--lengths must be 3 to {_LONGEST_AROUND}. Received: {length}")
    least = {"pairs": 0, "steps": _LEAST_STEPS, "batch_size": 1, "adapter_size": 1, "threads": 1}
    for name, smallest in least.items():
        given = getattr(flags, name)
        if given is not None and given < smallest:
            raise ValueError(f"--{name} must be at least {smallest}. Received: {given}")
    if flags.plot and flags.plot.suffix not in (".svg", ".png"):
        raise ValueError(f"--plot must end in .svg or .png. Received: {flags.plot}")
    if flags.plot and flags.pairs and not flags.lengths:
        raise ValueError("--plot is of --lengths, which must be given")
    if not flags.pairs and not flags.json:
        raise ValueError("--pairs=0 shows what --json holds: name the file")


def _measure_all(flags: argparse.Namespace) -> dict[str, Any]:
    """Measures all cases; what is measured is written after each."""
    if flags.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.threads])
    cases = _cases(flags)
    python = flags.peer_python or peer.interpreter()
    names = ("batch_size", "adapter_size", "pairs", "steps", "frozen_layer_norms")
    results = {
        "machine": {**machine(), "cores_used": len(os.sched_getaffinity(0))},
        "versions": {**versions(), **peer.PACKAGES},
        "settings": {name: getattr(flags, name) for name in names},
        "cases": [],
    }
    print("\n".join(table([])), flush=True)
    for case in cases:
        results["cases"].append(_measure(case, flags, python))
        print(table(results["cases"])[-1], flush=True)
        if flags.json:
            write_text(flags.json, json.dumps(results, indent=1) + "\n")
    return results


def _cases(flags: argparse.Namespace) -> list[Case]:
    chosen = [(name, _CASES[name], _LONGEST, None) for name in flags.cases]
    chosen += [
        ("around", around(length, _LONGEST_AROUND), _LONGEST_AROUND, length)
        for length in flags.lengths
    ]
    cases = []
    for encoder in flags.encoders:
        files = folder_of(encoder, flags.work_dir)
        random = encoder == BERT_BASE
        steps = max(_LEAST_STEPS, flags.steps // _SLOWER) if random else flags.steps
        cases += [
            Case(name, texts, files, encoder, precision, steps, longest, length)
            for name, texts, longest, length in chosen
            if not random or name in ("fixed", "around")
            for precision in flags.precisions
        ]
    return cases


def _measure(case: Case, flags: argparse.Namespace, python: pathlib.Path) -> dict[str, Any]:
    """Returns all that is measured of a case."""
    work = flags.work_dir
    folder = work / "texts"
    write_texts(folder, case.texts(case.steps * flags.batch_size, case.files.vocabulary))
    pairs, products = [], []

    def ours() -> dict[str, Any]:
        return _run_ours(case, flags, folder, work / "ours")

    def theirs() -> dict[str, Any]:
        return _run_theirs(case, flags, folder, work / "theirs", python)

    for pair in peer.alternate(ours, theirs, flags.pairs):
        lengths = pair[1].pop("lengths")
        pairs.append(pair)
        products.append(_lone_product(case, flags.batch_size, lengths))
    flops = step_flops(
        case.files.config,
        lengths,
        flags.adapter_size,
        not flags.frozen_layer_norms,
        first_only=case.files.pooling == "pooler",
    )
    return {
        "case": case.name,
        "encoder": case.encoder,
        "precision": case.precision,
        "length": case.length,
        "steps": case.steps,
        "max_seq_length": case.max_seq_length,
        "mean_tokens": statistics.mean(lengths),
        "flops_per_text": flops / len(lengths),
        "product_flops_per_second": products,
        "pairs": [{"ours": our, "theirs": their} for our, their in pairs],
    }


def _run_ours(
    case: Case, flags: argparse.Namespace, texts: pathlib.Path, output: pathlib.Path
) -> dict[str, Any]:
    shutil.rmtree(output, ignore_errors=True)  # A run that has finished would not run again.
    done = peer.run_child(
        [
            sys.executable,
            "-m",
            "train.run",
            "--task=csv",
            f"--train_file={texts / 'train.jsonl'}",
            f"--dev_file={texts / 'dev.jsonl'}",
            f"--encoder={case.files.folder}",
            f"--adapter_size={flags.adapter_size}",
            f"--train_layer_norm={not flags.frozen_layer_norms}",
            f"--batch_size={flags.batch_size}",
            f"--max_seq_length={case.max_seq_length}",
            f"--precision={case.precision}",
            "--epochs=1",
            "--learning_rate=1e-3",
            "--checkpoint_minutes=1000",
            "--noexport",
            f"--output_dir={output}",
        ],
        sign=_FIRST_STEP,
    )
    results = json.loads((output / "results.json").read_text())
    return {
        **_of_process(done),
        "examples_per_second": results["examples_per_second"],
        "useful_token_share": results.get("useful_token_share"),
        "trained": results["parameters"]["trained"],
    }


def _run_theirs(
    case: Case,
    flags: argparse.Namespace,
    texts: pathlib.Path,
    output: pathlib.Path,
    python: pathlib.Path,
) -> dict[str, Any]:
    done = peer.run_child(
        [
            python,
            _THEIRS,
            f"--encoder={case.files.folder}",
            f"--texts={texts}",
            f"--size={flags.adapter_size}",
            f"--batch_size={flags.batch_size}",
            f"--max_seq_length={case.max_seq_length}",
            f"--precision={case.precision}",
            f"--output_dir={output}",
        ],
        sign=_FIRST_STEP,
    )
    return {**_of_process(done), **json.loads(done.output.splitlines()[-1])}


def _of_process(done: peer.Finished) -> dict[str, Any]:
    return {
        "seconds": done.seconds,
        "seconds_to_first_step": done.seconds_to_sign,
        "processor_seconds": done.processor_seconds,
        "peak_memory_bytes": done.peak_memory_bytes,
    }


def _lone_product(case: Case, batch_size: int, lengths: Sequence[int]) -> float:
    """Returns the operations a second of the product of a batch with a feed-forward kernel."""
    rows = round(batch_size * statistics.mean(lengths))
    config = case.files.config
    shape = (rows, config["hidden_size"], config["intermediate_size"])
    command = [sys.executable, "-c", _PRODUCT, case.precision, *map(str, shape)]
    environment = {**tensorflow_environment(), "TF_CPP_MIN_LOG_LEVEL": "3"}  # As of `train.run`.
    return float(peer.run_child(command, environment).output)


if __name__ == "__main__":
    main()
