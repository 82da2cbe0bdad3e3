"""What `results.json` says of a run beside its metrics."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sys
from collections.abc import Sequence
from typing import Any

from train.config import RunConfig

_PACKAGES = ("keras-adapters", "tensorflow", "tf-keras", "tf-models-official", "tensorflow-text")


def settings(config: RunConfig) -> dict[str, Any]:
    """Returns the settings by which results are told apart; `config.json` has all of them."""
    return {
        "task": config.task,
        "method": config.method_name,
        "adapter_size": getattr(getattr(config.method, "insertion", None), "size", None),
        "encoder": config.model.encoder if config.search is None else None,
        "seed": config.fit.seed,
    }


def peak_memory() -> dict[str, Any]:
    """Returns the most memory that was in use so far, in bytes.

    `peak_memory_bytes` is the process's resident memory; with GPUs,
    `peak_device_memory_bytes` is what TensorFlow used of each, if it is there.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = {"peak_memory_bytes": peak if sys.platform == "darwin" else peak * 1024}
    if "tensorflow" not in sys.modules:
        return memory
    import tensorflow as tf

    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if gpus:
        memory["peak_device_memory_bytes"] = [
            tf.config.experimental.get_memory_info(name.removeprefix("/device:"))["peak"]
            for name in gpus
        ]
    return memory


def machine() -> dict[str, Any]:
    """Returns what the times of a run depend on: the processor's name and the number of cores."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            named = (line.partition(":")[2].strip() for line in lines if line.startswith("model n"))
            name = next(named, "")
    except OSError:  # Not Linux.
        name = ""
    return {
        "processor": name or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
    }


def versions(packages: Sequence[str] = _PACKAGES) -> dict[str, str | None]:
    """Returns the versions of this package and of those that it computes with."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
