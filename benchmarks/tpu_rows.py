"""What the benchmarks of the TPU compiler share: their processes, rows and cells.

The compiler runs in a process of its own, and so does what makes its programs. What it says is
kept in a JSON file and not asked again, unless the program or a version changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.tpu_grid import PEAKS
from keras_adapters.atomic import write_text

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
# Of each row: of the program and its work, and of what full fine-tuning takes.
WORK = (
    "compiles", "memory, MB", "GFLOP", "accessed, GB", "HBM, GB", "bound, ms", "bound by",
    "examples/s", "GFLOP/example",
)  # fmt: skip
SHARES = ("memory / full", "FLOP / full", "HBM / full")


class Results:
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

    def compile(self, case: dict[str, Any], path: pathlib.Path, count: int = 1) -> dict[str, Any]:
        """Compiles a case's program, unless that was done before, and writes its row.

        Args:
          case: what it is of; `topology` is what it is for.
          path: the program's file.
          count: of devices.

        Returns:
          The row: the case and what the compiler says.
        """
        program = hashlib.sha256(path.read_bytes()).hexdigest()
        result = self.find(program, case["topology"])
        if result is None:
            output, error = run("tpu_compiler", str(path), case["topology"], str(count))
            result = {"error": error} if error else json.loads(output)
        self.add(case, program, result)
        return {**case, **result}


def run(module: str, *arguments: str, **environment: str) -> tuple[str, str | None]:
    """Runs a module of this folder; returns its output and, in one line, why it failed."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        env={**os.environ, **_ENVIRONMENT, **environment},
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


def bound(row: Mapping[str, Any]) -> tuple[float, str]:
    """Returns the least seconds that a step takes at the chip's peaks, and which peak it is.

    Reference:
      Williams et al. 2009, "Roofline: an insightful visual performance model".
    """
    flops, bandwidth = PEAKS[row["topology"]]
    return max((row["flops"] / flops, "FLOP"), (row["hbm_bytes"] / bandwidth, "HBM"))


def work(row: Mapping[str, Any], devices: int = 1) -> list[str]:
    """Returns a row's cells of `WORK`.

    Args:
      row: what `Results.compile` returns, of a case with a `batch_size` per device.
      devices: that work on a step together. Examples per second are those of all of them.
    """
    if "error" in row:
        return ["no", *[""] * (len(WORK) - 1)]
    seconds, peak = bound(row)
    return [
        "yes",
        f"{_memory(row) / 1e6:.0f}",
        f"{row['flops'] / 1e9:.0f}",
        f"{row['bytes_accessed'] / 1e9:.1f}",
        f"{row['hbm_bytes'] / 1e9:.2f}",
        f"{seconds * 1e3:.2f}",
        peak,
        f"{devices * row['batch_size'] / seconds:.0f}",
        f"{row['flops'] / row['batch_size'] / 1e9:.1f}",
    ]


def shares(row: Mapping[str, Any], full: Mapping[str, Any] | None) -> list[str]:
    """Returns a row's cells of `SHARES`; `full` is that of full fine-tuning, if it is there."""
    if full is None or "error" in row:
        return [""] * len(SHARES)
    measures = (_memory, lambda row: row["flops"], lambda row: row["hbm_bytes"])
    return [f"{of(row) / of(full):.2f}" for of in measures]


def _memory(row: Mapping[str, Any]) -> int:
    return row["argument_bytes"] + row["temp_bytes"]
