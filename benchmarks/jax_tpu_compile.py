"""Compiles the training step of adapted KerasHub models for several TPUs, without a TPU.

    python -m benchmarks.jax_tpu_compile --models=bert_base,gpt2_base --devices=v5e,v7x

Keras traces the step of `fit` on the JAX backend under `keras.distribution`, and libtpu compiles
it ahead of time for the four chips of a 2x2 topology of each kind: `data` parts the texts among
all devices; `sharded` also parts the base's kernels, within pairs of devices. The table says,
of one device, what the step takes of its memory (HBM), how much work the compiler counts, and
what it says to the others; the columns are those of `benchmarks.tpu_compile`, and nothing is
run. Texts are `--batch_size` for each device, in either distribution; examples/s are those of all
devices. What stands in the file of `--json` is not compiled again, unless the step or a version
changed. It needs the extras `tpu-compile` and `keras-hub`.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from benchmarks import tpu_rows
from benchmarks.tpu_grid import DEVICES, DISTRIBUTIONS, KERAS_HUB_METHODS, KERAS_HUB_MODELS

FLAGS = flags.FLAGS
_CHOICES = {
    "models": tuple(KERAS_HUB_MODELS),
    "devices": tuple(DEVICES),
    "methods": KERAS_HUB_METHODS,
    "distribution": DISTRIBUTIONS,
}

flags.DEFINE_list("models", ["bert_base"], f"Of {', '.join(KERAS_HUB_MODELS)}.")
flags.DEFINE_list("devices", ["v5e", "v5p", "v6e", "v7x"], f"Of {', '.join(DEVICES)}.")
flags.DEFINE_list("methods", list(KERAS_HUB_METHODS), "Transfer methods.")
flags.DEFINE_list("distribution", list(DISTRIBUTIONS), f"Of {', '.join(DISTRIBUTIONS)}.")
flags.DEFINE_integer("length", 128, "Tokens in a sequence.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Texts per device.", lower_bound=1)
flags.DEFINE_integer("adapter_size", 64, "The adapters' width.", lower_bound=1)
flags.DEFINE_string("json", "runs/jax_tpu_compile.json", "File of the raw numbers.")

_GROUP = ("TPU", "model", "length", "distribution", "devices")
_PACKAGES = ("jax", "jaxlib", "libtpu", "keras", "keras-hub")


def main(argv: Sequence[str]) -> None:
    """Compiles what has not been compiled, then prints the table."""
    del argv
    _check_flags()
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    results = tpu_rows.Results(pathlib.Path(FLAGS.json), versions)
    rows = []
    for model, distribution, method in itertools.product(
        FLAGS.models, FLAGS.distribution, FLAGS.methods
    ):
        case = {"model": model, "distribution": distribution, "method": method}
        rows += _compile_step(case, results)
    print(f"Batch {FLAGS.batch_size} per device, adapters of {FLAGS.adapter_size};")
    print(", ".join(f"{name} {version}" for name, version in versions.items()), end="\n\n")
    _print_table(rows)


def _check_flags() -> None:
    for name, choices in _CHOICES.items():
        unknown = [value for value in FLAGS[name].value if value not in choices]
        if unknown:
            raise app.UsageError(f"--{name} takes {', '.join(choices)}, not {', '.join(unknown)}")
        if not FLAGS[name].value:
            raise app.UsageError(f"--{name} takes some of {', '.join(choices)}, not nothing")


def _compile_step(step: dict[str, Any], results: tpu_rows.Results) -> list[dict[str, Any]]:
    """Traces a step for each number of devices, compiles it and returns the table's rows."""
    settings = {name: FLAGS[name].value for name in ("length", "batch_size", "adapter_size")}
    rows = []
    for count in sorted({DEVICES[topology] for topology in FLAGS.devices}):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "train.mlir")
            tracing = {**step, **settings, "devices": count, "output": path}
            given = [f"--{name}={value}" for name, value in tracing.items()]
            said, error = tpu_rows.run("jax_tpu_steps", *given, KERAS_BACKEND="jax")
            for topology in FLAGS.devices:
                if DEVICES[topology] != count:
                    continue
                case = {"topology": topology, **step, **settings, "devices": count}
                if error:
                    results.add(case, None, {"error": error})
                    rows.append({**case, "error": error})
                else:
                    case["trained"] = json.loads(said)["trained"]
                    rows.append(results.compile(case, path, count))
                print(_name(case), rows[-1].get("error", "compiles"), file=sys.stderr, flush=True)
    return rows


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Prints the rows with their share of what full fine-tuning takes, then the errors."""
    rows = sorted(rows, key=_group)
    full = {_group(row): row for row in rows if row["method"] == "full" and "error" not in row}
    head = (*_GROUP, "method", "trained", *tpu_rows.WORK, *tpu_rows.SHARES)
    head = (*head, "collectives, MB", "MB / full")
    print(f"| {' | '.join(head)} |")
    print("|---" * len(head) + "|")
    for row in rows:
        print(_line(row, full.get(_group(row))))
    for row in rows:
        if "error" in row:
            print(f"\n{_name(row)} {row['error']}")


def _line(row: dict[str, Any], full: dict[str, Any] | None) -> str:
    cells = [*map(str, _group(row)), row["method"], str(row.get("trained", ""))]
    cells += [*tpu_rows.work(row, row["devices"]), *tpu_rows.shares(row, full)]
    cells += ["", ""] if "error" in row else [_collectives(row), ""]
    if full and "error" not in row:
        cells[-1] = f"{_said(row) / _said(full):.3f}"
    return f"| {' | '.join(cells)} |"


def _collectives(row: dict[str, Any]) -> str:
    found = row["collectives"]
    return "; ".join(f"{count} {kind} {size / 1e6:.1f}" for kind, count, size in found)


def _said(row: dict[str, Any]) -> int:
    return sum(size for _, _, size in row["collectives"])


def _group(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("topology", *_GROUP[1:]))


def _name(row: dict[str, Any]) -> str:
    names = ("topology", "model", "length", "distribution", "method")
    return f"{' '.join(str(row[name]) for name in names)}:"


if __name__ == "__main__":
    app.run(main)
