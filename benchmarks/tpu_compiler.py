"""Compiles one StableHLO program for one kind of TPU and prints what the compiler says.

    python -m benchmarks.tpu_compiler program.mlir v5e 4

A process of its own for `benchmarks.tpu_rows`, because the compiler may end its process and
keeps memory. Needs the environment variables of `benchmarks.tpu_rows`, no TPU.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from typing import Any

import jaxlib._jax
import numpy as np
from jax.experimental import topologies
from jax.interpreters import mlir
from jaxlib import xla_client
from jaxlib.mlir import ir

from benchmarks.tpu_collectives import collectives
from benchmarks.tpu_grid import TOPOLOGIES
from benchmarks.tpu_traffic import by_source

_MEMORY = ("argument", "output", "alias", "temp", "generated_code")
_COSTS = ("flops", "bytes accessed", "transcendentals")


def compile_for(program: str, topology: str, count: int = 1) -> dict[str, Any]:
    """Compiles for one device, or for several that work together.

    Args:
      program: StableHLO as text; for several devices, with the layouts of its arguments.
      topology: a key of `TOPOLOGIES`.
      count: of devices.

    Returns:
      Of each device: bytes of HBM by what they hold, the compiler's estimates of the work, what is
      read from and written to HBM, in all and by what in the model does it, as pairs of a name and
      bytes, and what it sends to and gets from others: a kind of collective, how many there are,
      and their bytes.

    Raises:
      jax.errors.JaxRuntimeError: the compiler refuses.
    """
    start = time.monotonic()
    found = topologies.get_topology_desc(platform="tpu", **TOPOLOGIES[topology]).devices
    devices = tuple(found[:count])
    with mlir.make_ir_context():
        executable = devices[0].client.compile(
            ir.Module.parse(program), jaxlib._jax.DeviceList(devices), _options(count)
        )
    memory = executable.get_compiled_memory_stats()
    costs = executable.cost_analysis()
    compiled = executable.hlo_modules()[0].to_string()
    moved = by_source(compiled)
    return {
        "device_kind": devices[0].device_kind,
        "seconds": time.monotonic() - start,
        **{f"{kind}_bytes": getattr(memory, f"{kind}_size_in_bytes") for kind in _MEMORY},
        "peak_bytes": memory.peak_memory_in_bytes,
        **{name.replace(" ", "_"): costs[name] for name in _COSTS},
        "hbm_bytes": sum(size for _, size in moved),
        "moved": moved,
        "collectives": collectives(compiled),
    }


def _options(count: int) -> xla_client.CompileOptions:
    """Returns how JAX compiles one program that is parted among devices."""
    options = xla_client.CompileOptions()
    if count > 1:
        build = options.executable_build_options
        build.num_partitions = count
        build.device_assignment = xla_client.DeviceAssignment.create(np.arange(count)[None])
        build.use_spmd_partitioning = True
        build.use_shardy_partitioner = True
    return options


if __name__ == "__main__":
    path, topology, *count = sys.argv[1:]
    said = compile_for(pathlib.Path(path).read_text("utf-8"), topology, *map(int, count))
    print(json.dumps(said))
