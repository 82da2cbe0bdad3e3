"""Compiles the steps of training with the real TPU compiler, without a TPU.

    python -m benchmarks.tpu_compile --encoders=bert_base --topologies=v5e,v4

TensorFlow traces each step once, and libtpu, the compiler in the PyPI package of that name,
compiles it ahead of time for one chip of each kind. The table says what compiles, what it
takes of the chip's memory (HBM) and how much work the compiler counts; nothing is run. Its bound
is the time that the chip needs at least, at its published peaks: that of the FLOPs or that of
the bytes between the chip and HBM, whichever is longer. What stands in the file of `--json` is
not compiled again, unless the step or a version changed. It needs the extra `tpu-compile`.
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
from benchmarks.tpu_grid import ENCODERS, STEPS, TEXTS, TOPOLOGIES, WITHOUT_TENSORFLOW
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS

FLAGS = flags.FLAGS
_TOPOLOGIES = tuple(name for name in TOPOLOGIES if name not in WITHOUT_TENSORFLOW)
_CHOICES = {
    "encoders": tuple(ENCODERS),
    "methods": tuple(METHODS),
    "packed": TEXTS,
    "steps": STEPS,
    "topologies": _TOPOLOGIES,
}

flags.DEFINE_list("encoders", ["bert_base"], f"Of {', '.join(ENCODERS)}.")
flags.DEFINE_list("lengths", ["128"], "Tokens in a sequence.")
flags.DEFINE_list("methods", list(METHODS), "Transfer methods.")
flags.DEFINE_list("steps", list(STEPS), "Steps.")
flags.DEFINE_list("topologies", ["v5e", "v4"], f"Of {', '.join(_TOPOLOGIES)}.")
flags.DEFINE_list("packed", [], f"Also with texts that share rows: of {', '.join(TEXTS)}.")
flags.DEFINE_integer("batch_size", 32, "Texts per chip.", lower_bound=1)
flags.DEFINE_integer("explain", 0, "Tell so many of what moves most bytes, compiling anew.")
flags.DEFINE_integer("adapter_size", 64, "The adapters' width.", lower_bound=1)
flags.DEFINE_string("adapter", "{}", "Further settings of an AdapterConfig, as a JSON object.")
flags.DEFINE_integer("top_layers", 4, "Blocks that the method top_layers trains.", lower_bound=1)
flags.DEFINE_string("json", "runs/tpu_compile.json", "File of the raw numbers.")

_GROUP = ("TPU", "encoder", "length", "texts", "rows", "step")
_PACKAGES = ("jax", "jaxlib", "libtpu", "tensorflow", "tf-keras", "tf-models-official")


def main(argv: Sequence[str]) -> None:
    """Compiles what has not been compiled, then prints the table."""
    del argv
    _check_flags()
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    results = tpu_rows.Results(pathlib.Path(FLAGS.json), versions)
    rows = []
    for encoder, length, method, texts in itertools.product(
        FLAGS.encoders, map(int, FLAGS.lengths), FLAGS.methods, [None, *FLAGS.packed]
    ):
        rows += _compile_model(encoder, length, method, texts, results)
    print(f"Batch {FLAGS.batch_size}, adapters of {FLAGS.adapter_size}, top {FLAGS.top_layers};")
    if FLAGS.adapter != "{}":
        print(f"adapters with {FLAGS.adapter};")
    print(", ".join(f"{name} {version}" for name, version in versions.items()), end="\n\n")
    _print_table(rows)
    for row in rows if FLAGS.explain else ():
        if "error" not in row:
            _print_moved(row)


def _check_flags() -> None:
    for name, choices in _CHOICES.items():
        unknown = [value for value in FLAGS[name].value if value not in choices]
        if unknown:
            raise app.UsageError(f"--{name} takes {', '.join(choices)}, not {', '.join(unknown)}")
    try:
        AdapterConfig(**{"size": FLAGS.adapter_size, **json.loads(FLAGS.adapter)})
    except (TypeError, ValueError) as error:
        raise app.UsageError(f"--adapter takes settings of an AdapterConfig: {error}") from error
    if not all(length.isdecimal() and int(length) for length in FLAGS.lengths):
        raise app.UsageError(f"--lengths takes numbers of tokens, not {','.join(FLAGS.lengths)}")


def _compile_model(
    encoder: str, length: int, method: str, texts: str | None, results: tpu_rows.Results
) -> list[dict[str, Any]]:
    """Traces the steps of one model, compiles each and returns the table's rows."""
    names = ("batch_size", "adapter_size", "top_layers", "adapter")
    model = {"encoder": encoder, "length": length, "method": method}
    model |= {name: FLAGS[name].value for name in names}
    shared, error = _shared_rows(texts, length)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tracing = {**model, **shared, "steps": ",".join(FLAGS.steps), "output_dir": folder}
        tracing["names"] = bool(FLAGS.explain)
        if not error:
            given = [f"--{name}={value}" for name, value in tracing.items()]
            _, error = tpu_rows.run("tpu_steps", *given)
        for step, topology in itertools.product(FLAGS.steps, FLAGS.topologies):
            case = {"topology": topology, "step": step, **model, "texts": texts, **shared}
            if error:
                results.add(case, None, {"error": error})
                rows.append({**case, "error": error})
            else:
                rows.append(results.compile(case, pathlib.Path(folder, f"{step}.mlir")))
            print(_name(case), rows[-1].get("error", "compiles"), file=sys.stderr, flush=True)
    return rows


def _shared_rows(texts: str | None, length: int) -> tuple[dict[str, int], str | None]:
    """Returns how many rows a batch of such texts takes, and why that is not known."""
    if texts is None:
        return {}, None
    batch = f"--batch_size={FLAGS.batch_size}"
    output, error = tpu_rows.run("tpu_lengths", f"--texts={texts}", f"--length={length}", batch)
    return ({} if error else {"rows": json.loads(output)["rows"]}), error


def _name(row: dict[str, Any]) -> str:
    of = f" {row['texts']}" if row["texts"] else ""
    return f"{row['topology']} {row['encoder']} {row['length']}{of} {row['step']} {row['method']}:"


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Prints the rows with their share of what full fine-tuning takes, then the errors."""
    rows = sorted(rows, key=_group)
    full = {_group(row): row for row in rows if row["method"] == "full" and "error" not in row}
    head = (*_GROUP, "method", *tpu_rows.WORK, *tpu_rows.SHARES)
    print(f"| {' | '.join(head)} |")
    print("|---" * len(head) + "|")
    for row in rows:
        print(_line(row, full.get(_group(row))))
    for row in rows:
        if "error" in row:
            print(f"\n{_name(row)} {row['error']}")


def _print_moved(row: dict[str, Any]) -> None:
    """Prints what moves most bytes between a chip and its memory."""
    print(f"\n{_name(row)} {row['hbm_bytes'] / 1e6:.0f} MB to and from HBM, of which\n")
    for source, size in row["moved"][: FLAGS.explain]:
        print(f"{size / 1e6:8.1f} MB {size / row['hbm_bytes']:4.0%} {source}")


def _group(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("topology", "encoder", "length", "texts", "rows", "step")
    told = {**row, "texts": row["texts"] or "padded", "rows": row.get("rows", row["batch_size"])}
    return tuple(told[name] for name in names)


def _line(row: dict[str, Any], full: dict[str, Any] | None) -> str:
    cells = [*map(str, _group(row)), row["method"], *tpu_rows.work(row)]
    return "| " + " | ".join([*cells, *tpu_rows.shares(row, full)]) + " |"


if __name__ == "__main__":
    app.run(main)
