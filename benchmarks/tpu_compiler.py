"""Compiles one StableHLO program for one kind of TPU and prints what the compiler says.

    python -m benchmarks.tpu_compiler program.mlir v5e

A process of its own for `benchmarks.tpu_compile`, because the compiler may end its process
and keeps memory. Needs the environment variables of `benchmarks.tpu_compile`, no TPU.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from typing import Any

import jaxlib._jax
from jax.experimental import topologies
from jax.interpreters import mlir
from jaxlib import xla_client
from jaxlib.mlir import ir

from benchmarks.tpu_grid import TOPOLOGIES
from benchmarks.tpu_traffic import by_source

_MEMORY = ("argument", "output", "alias", "temp", "generated_code")
_COSTS = ("flops", "bytes accessed", "transcendentals")


def compile_for(program: str, topology: str) -> dict[str, Any]:
    """Compiles for one chip.

    Args:
      program: StableHLO as text.
      topology: a key of `TOPOLOGIES`.

    Returns:
      Bytes of HBM by what they hold, the compiler's estimates of the work, and what is read from
      and written to HBM, in all and by what in the model does it, as pairs of a name and bytes.

    Raises:
      jax.errors.JaxRuntimeError: the compiler refuses.
    """
    start = time.monotonic()
    device = topologies.get_topology_desc(platform="tpu", **TOPOLOGIES[topology]).devices[0]
    with mlir.make_ir_context():
        executable = device.client.compile(
            ir.Module.parse(program),
            jaxlib._jax.DeviceList((device,)),
            xla_client.CompileOptions(),
        )
    memory = executable.get_compiled_memory_stats()
    costs = executable.cost_analysis()
    moved = by_source(executable.hlo_modules()[0].to_string())
    return {
        "device_kind": device.device_kind,
        "seconds": time.monotonic() - start,
        **{f"{kind}_bytes": getattr(memory, f"{kind}_size_in_bytes") for kind in _MEMORY},
        "peak_bytes": memory.peak_memory_in_bytes,
        **{name.replace(" ", "_"): costs[name] for name in _COSTS},
        "hbm_bytes": sum(size for _, size in moved),
        "moved": moved,
    }


if __name__ == "__main__":
    print(json.dumps(compile_for(pathlib.Path(sys.argv[1]).read_text("utf-8"), sys.argv[2])))
