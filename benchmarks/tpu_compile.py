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

import hashlib
import importlib.metadata
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from benchmarks.tpu_grid import ENCODERS, PEAKS, STEPS, TEXTS, TOPOLOGIES
from keras_adapters.atomic import write_text
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS

FLAGS = flags.FLAGS
_CHOICES = {
    "encoders": tuple(ENCODERS),
    "methods": tuple(METHODS),
    "packed": TEXTS,
    "steps": STEPS,
    "topologies": tuple(TOPOLOGIES),
}

flags.DEFINE_list("encoders", ["bert_base"], f"Of {', '.join(ENCODERS)}.")
flags.DEFINE_list("lengths", ["128"], "Tokens in a sequence.")
flags.DEFINE_list("methods", list(METHODS), "Transfer methods.")
flags.DEFINE_list("steps", list(STEPS), "Steps.")
flags.DEFINE_list("topologies", ["v5e", "v4"], f"Of {', '.join(TOPOLOGIES)}.")
flags.DEFINE_list("packed", [], f"Also with texts that share rows: of {', '.join(TEXTS)}.")
flags.DEFINE_integer("batch_size", 32, "Texts per chip.", lower_bound=1)
flags.DEFINE_integer("explain", 0, "Tell so many of what moves most bytes, compiling anew.")
flags.DEFINE_integer("adapter_size", 64, "The adapters' width.", lower_bound=1)
flags.DEFINE_string("adapter", "{}", "Further settings of an AdapterConfig, as a JSON object.")
flags.DEFINE_integer("top_layers", 4, "Blocks that the method top_layers trains.", lower_bound=1)
flags.DEFINE_string("json", "runs/tpu_compile.json", "File of the raw numbers.")

_PACKAGES = ("jax", "jaxlib", "libtpu", "tensorflow", "tf-keras", "tf-models-official")
# Without them JAX and libtpu look for a TPU, for the cloud that it would be in, and for other
# processes that would use it.
_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_LOG_DIR": "disabled",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def main(argv: Sequence[str]) -> None:
    """Compiles what has not been compiled, then prints the table."""
    del argv
    _check_flags()
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    results = _Results(pathlib.Path(FLAGS.json), versions)
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


class _Results:
    """The rows of the JSON file.

    Args:
      path: the file; it need not be there.
      versions: of the packages. What others compiled is not taken up.
    """

    def __init__(self, path: pathlib.Path, versions: dict[str, str]) -> None:
        self._path = path
        self._versions = versions
        self._rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []

    def find(self, program: str, topology: str) -> dict[str, Any] | None:
        """Returns what the compiler said of the same program before, unless it failed."""
        for row in self._rows:
            same = (row["program"], row["case"]["topology"]) == (program, topology)
            if same and row["versions"] == self._versions and "error" not in row["result"]:
                return row["result"]
        return None

    def add(self, case: dict[str, Any], program: str | None, result: dict[str, Any]) -> None:
        """Writes a row, in the place of an older one of the same case."""
        row = {"case": case, "program": program, "versions": self._versions, "result": result}
        self._rows = [*(old for old in self._rows if old["case"] != case), row]
        write_text(self._path, json.dumps(self._rows, indent=1))


def _compile_model(
    encoder: str, length: int, method: str, texts: str | None, results: _Results
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
            _, error = _run("tpu_steps", *(f"--{name}={value}" for name, value in tracing.items()))
        for step, topology in itertools.product(FLAGS.steps, FLAGS.topologies):
            case = {"topology": topology, "step": step, **model, "texts": texts, **shared}
            program, result = None, {"error": error}
            if not error:
                path = pathlib.Path(folder, f"{step}.mlir")
                program = hashlib.sha256(path.read_bytes()).hexdigest()
                result = results.find(program, topology) or _compile(path, topology)
            results.add(case, program, result)
            rows.append({**case, **result})
            print(_name(case), result.get("error", "compiles"), file=sys.stderr, flush=True)
    return rows


def _shared_rows(texts: str | None, length: int) -> tuple[dict[str, int], str | None]:
    """Returns how many rows a batch of such texts takes, and why that is not known."""
    if texts is None:
        return {}, None
    batch = f"--batch_size={FLAGS.batch_size}"
    output, error = _run("tpu_lengths", f"--texts={texts}", f"--length={length}", batch)
    return ({} if error else {"rows": json.loads(output)["rows"]}), error


def _compile(program: pathlib.Path, topology: str) -> dict[str, Any]:
    output, error = _run("tpu_compiler", str(program), topology)
    return {"error": error} if error else json.loads(output)


def _run(module: str, *arguments: str) -> tuple[str, str | None]:
    """Runs a module of this folder; returns its output and, in one line, why it failed."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, _reason(done.stderr, done.returncode) if done.returncode else None


def _reason(stderr: str, status: int) -> str:
    """Finds the line that says why: a failed check, where it crashed, or an exception."""
    for pattern in (r"Check failed: .*", r"SIG\w+ .*\nPC: .*", r"^[\w.]*(?:Error|Exception)\b.*"):
        found = re.findall(pattern, stderr, re.MULTILINE)
        if found:
            return " ".join(found[-1].split())
    return " ".join([f"exit status {status}", *stderr.splitlines()[-1:]])


def _name(row: dict[str, Any]) -> str:
    of = f" {row['texts']}" if row["texts"] else ""
    return f"{row['topology']} {row['encoder']} {row['length']}{of} {row['step']} {row['method']}:"


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Prints the rows with their share of what full fine-tuning takes, then the errors."""
    rows = sorted(rows, key=_group)
    full = {_group(row): row for row in rows if row["method"] == "full" and "error" not in row}
    print(
        "| TPU | encoder | length | texts | rows | step | method | compiles | memory, MB | GFLOP "
        "| accessed, GB | HBM, GB | bound, ms | bound by | examples/s | GFLOP/example "
        "| memory / full | FLOP / full | HBM / full |"
    )
    print("|---" * 19 + "|")
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


def bound(row: dict[str, Any]) -> tuple[float, str]:
    """Returns the least seconds that a step takes at the chip's peaks, and which peak it is.

    Reference:
      Williams et al. 2009, "Roofline: an insightful visual performance model".
    """
    flops, bandwidth = PEAKS[row["topology"]]
    return max((row["flops"] / flops, "FLOP"), (row["hbm_bytes"] / bandwidth, "HBM"))


def _line(row: dict[str, Any], full: dict[str, Any] | None) -> str:
    cells = [*map(str, _group(row)), row["method"]]
    if "error" in row:
        return "| " + " | ".join([*cells, "no", *[""] * 11]) + " |"
    seconds, peak = bound(row)
    cells += [
        "yes",
        f"{_memory(row) / 1e6:.0f}",
        f"{row['flops'] / 1e9:.0f}",
        f"{row['bytes_accessed'] / 1e9:.1f}",
        f"{row['hbm_bytes'] / 1e9:.2f}",
        f"{seconds * 1e3:.2f}",
        peak,
        f"{row['batch_size'] / seconds:.0f}",
        f"{row['flops'] / row['batch_size'] / 1e9:.1f}",
    ]
    for of in (_memory, lambda row: row["flops"], lambda row: row["hbm_bytes"]):
        cells.append(f"{of(row) / of(full):.2f}" if full else "")
    return "| " + " | ".join(cells) + " |"


def _memory(row: dict[str, Any]) -> int:
    return row["argument_bytes"] + row["temp_bytes"]


if __name__ == "__main__":
    app.run(main)
