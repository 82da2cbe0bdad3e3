"""Times training of one adapted encoder by each of Keras's backends and by AdapterHub.

    python -m benchmarks.backend_speed --rounds=5 --json=backend_speed.json

Ours is `fit` of the encoder in KerasHub, on JAX, TensorFlow and PyTorch, and on TensorFlow without
XLA (`jit_compile=False`); theirs is `adapter_hub_speed.py` in an environment of its own
(`benchmarks.peer`). All are whole processes, in turn, in another order each round, with the same
encoder, shape of the batches, number of timed steps and precision, adapters of the same size in
the same places, dropout and AdamW. Every text has all tokens. AdapterHub's LayerNorms are frozen,
as always there; ours train unless `--frozen_layer_norms`. Speeds leave out each process's first
three steps.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import peer
from benchmarks.train_speed_inputs import folder_of, full, write_texts
from keras_adapters.atomic import write_text
from train.encoders.find import EncoderFiles
from train.results import machine, versions

_PEER = "adapter_hub"
_WITHOUT_XLA = "tensorflow_no_jit"
_SIDES = ("jax", "tensorflow", _WITHOUT_XLA, "torch", _PEER)
_PRECISIONS = ("float32", "bfloat16")
_THEIRS = pathlib.Path(__file__).with_name("adapter_hub_speed.py")
_WARM_UP_STEPS = 3  # Of both.
_FIRST_STEP = "loss="  # All say it on standard error.
_PACKAGES = ("keras-adapters", "keras", "keras-hub", "jax", "tensorflow", "torch")
_HEAD = (
    "backend", "precision", "examples/s", "to AdapterHub's", "memory, GB", "process, s",
    "to first step, s",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all, prints the table, and writes what was measured."""
    flags = read_flags(arguments)
    try:
        results = _measure_all(flags) if flags.rounds else json.loads(flags.json.read_text())
    except (ValueError, OSError, peer.ChildError) as error:
        sys.exit(f"error: {error}")
    print("\n".join(table(results)))


def read_flags(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's flags; ends the process where they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    listed = {"type": lambda text: text.split(","), "metavar": "A,B,..."}
    parser.add_argument("--sides", default=list(_SIDES), help=f"of {', '.join(_SIDES)}", **listed)
    parser.add_argument("--precisions", default=list(_PRECISIONS), **listed)
    parser.add_argument("--encoder", default="minilm_l6", help="a preset or a folder")
    parser.add_argument("--rounds", type=int, default=3, help="0: show --json")
    parser.add_argument("--steps", type=int, default=20, help="timed, of a process")
    parser.add_argument("--batch_size", type=int, default=32, help="texts per step")
    parser.add_argument("--length", type=int, default=128, help="tokens per text")
    parser.add_argument("--adapter_size", type=int, default=64, help="width of the adapters")
    parser.add_argument("--frozen_layer_norms", action="store_true", help="ours too")
    parser.add_argument("--threads", type=int, help="cores that all may use; default: all")
    parser.add_argument("--work_dir", type=pathlib.Path, default="runs/backend_speed")
    parser.add_argument("--peer_python", type=pathlib.Path, help="default: found, or made")
    parser.add_argument("--json", type=pathlib.Path, help="file for all that is measured")
    flags = parser.parse_args(arguments)
    try:
        _check(flags)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    return flags


def _check(flags: argparse.Namespace) -> None:
    for name, known in (("sides", _SIDES), ("precisions", _PRECISIONS)):
        unknown = [given for given in getattr(flags, name) if given not in known]
        if unknown:
            raise ValueError(
                f"--{name} must be of {', '.join(known)}. Received: {', '.join(unknown)}"
            )
    least = {"rounds": 0, "steps": 1, "batch_size": 1, "length": 3, "adapter_size": 1, "threads": 1}
    for name, smallest in least.items():
        given = getattr(flags, name)
        if given is not None and given < smallest:
            raise ValueError(f"--{name} must be at least {smallest}. Received: {given}")
    if not flags.rounds and not flags.json:
        raise ValueError("--rounds=0 shows what --json holds: name the file")


def _measure_all(flags: argparse.Namespace) -> dict[str, Any]:
    """Runs every side in every round; what is measured is written after each round."""
    if flags.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.threads])
    files = folder_of(flags.encoder, flags.work_dir)
    python = None
    if _PEER in flags.sides:
        python = flags.peer_python or peer.interpreter()
        count = (flags.steps + _WARM_UP_STEPS) * flags.batch_size
        write_texts(flags.work_dir / "texts", full(flags.length)(count, files.vocabulary))
    names = ("encoder", "batch_size", "length", "adapter_size", "steps", "frozen_layer_norms")
    results = {
        "machine": {**machine(), "cores_used": len(os.sched_getaffinity(0))},
        "versions": {**versions(_PACKAGES), _PEER: peer.PACKAGES},
        "settings": {name: getattr(flags, name) for name in names},
        "runs": [],
    }
    for precision in flags.precisions:
        for index in range(flags.rounds):
            at = index % len(flags.sides)
            for side in flags.sides[at:] + flags.sides[:at]:
                measured = _run(side, precision, flags, files, python)
                run = {"side": side, "precision": precision, "round": index, **measured}
                results["runs"].append(run)
                print(
                    f"{side} {precision}: {run['examples_per_second']:.1f} examples/s",
                    file=sys.stderr,
                    flush=True,
                )
            if flags.json:
                write_text(flags.json, json.dumps(results, indent=1) + "\n")
    return results


def _run(
    side: str,
    precision: str,
    flags: argparse.Namespace,
    files: EncoderFiles,
    python: pathlib.Path | None,
) -> dict[str, Any]:
    """Runs a side's process and returns what it measured."""
    shared = [
        f"--encoder={files.folder}",
        f"--size={flags.adapter_size}",
        f"--batch_size={flags.batch_size}",
        f"--precision={precision}",
    ]
    if side == _PEER:
        command = [
            python,
            _THEIRS,
            *shared,
            f"--texts={flags.work_dir / 'texts'}",
            f"--max_seq_length={flags.length}",
            f"--output_dir={flags.work_dir / 'theirs'}",
        ]
        environment = {}
    else:
        module = ["-m", "benchmarks.backend_speed_keras_hub"]
        command = [sys.executable, *module, *shared, f"--length={flags.length}"]
        command += [f"--steps={flags.steps}"]
        command += ["--frozen_layer_norms"] if flags.frozen_layer_norms else []
        command += ["--no_jit"] if side == _WITHOUT_XLA else []
        environment = {"KERAS_BACKEND": side.partition("_")[0], "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = peer.run_child(command, environment, sign=_FIRST_STEP)
    said = json.loads(done.output.splitlines()[-1])
    return {
        "examples_per_second": said["examples_per_second"],
        "trained": said["trained"],
        "seconds": done.seconds,
        "seconds_to_first_step": done.seconds_to_sign,
        "peak_memory_bytes": done.peak_memory_bytes,
    }


def table(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of a table in Markdown: medians, and of speeds the least and greatest.

    Args:
      results: what is written as JSON.
    """
    runs = results["runs"]
    cases = dict.fromkeys((run["precision"], run["side"]) for run in runs)
    order = sorted(cases, key=lambda case: (_PRECISIONS.index(case[0]), _SIDES.index(case[1])))
    rows = [_HEAD, ["---"] * len(_HEAD)]
    for precision, side in order:
        rows.append([side, precision, *_cells(runs, precision, side)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _cells(runs: Sequence[Mapping[str, Any]], precision: str, side: str) -> list[str]:
    def values(of: str, name: str) -> list[float]:
        found = [run for run in runs if (run["precision"], run["side"]) == (precision, of)]
        return [run[name] for run in sorted(found, key=lambda run: run["round"])]

    speeds = values(side, "examples_per_second")
    theirs = values(_PEER, "examples_per_second")[: len(speeds)]
    return [
        f"{peer.spread(speeds):.1f}",
        f"{peer.ratios(speeds[: len(theirs)], theirs):.2f}" if theirs else "-",
        f"{peer.spread(values(side, 'peak_memory_bytes')).median / 1e9:.2f}",
        f"{peer.spread(values(side, 'seconds')).median:.1f}",
        f"{peer.spread(values(side, 'seconds_to_first_step')).median:.1f}",
    ]


if __name__ == "__main__":
    main()
