"""The workers that TF_CONFIG lists, and which of them this process is; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

WORKER_MINUTES = 5.0  # That one waits for the others at the start.
_VARIABLE = "TF_CONFIG"
_KINDS = ("chief", "worker")  # In the order in which they are numbered.


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes of one training.

    Args:
      addresses: `host:port` of each, the chief's first.
      index: which of them this process is.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def others(self) -> tuple[str, ...]:
        """Addresses of the other processes."""
        return self.addresses[: self.index] + self.addresses[self.index + 1 :]


def several_workers(strategy: str, tpu: str | None = None) -> bool:
    """Returns whether this process is one of workers that TF_CONFIG lists.

    Args:
      strategy: the flag's value, such as `auto`.
      tpu: the flag's value.

    Raises:
      ValueError: TF_CONFIG is needed and is not there, or is not what TensorFlow takes.
    """
    if strategy == "auto":
        if tpu or has_local_tpu() or not os.environ.get(_VARIABLE):
            return False
    elif strategy != "multi_worker_mirrored":
        return False
    read_workers()
    return True


def is_first_worker(strategy: str, tpu: str | None = None) -> bool:
    """Returns whether this process writes the run's files: the first worker, or the only one.

    Args, raises: as `several_workers`.
    """
    return not several_workers(strategy, tpu) or read_workers().index == 0


def has_local_tpu() -> bool:
    """Returns whether this machine shows a TPU's device files."""
    return any(pathlib.Path("/dev").glob("accel[0-9]*"))


def read_workers() -> Workers:
    """Reads TF_CONFIG.

    Raises:
      ValueError: it is not set, not JSON, or does not say who the workers are and which of
        them this is.
    """
    text = os.environ.get(_VARIABLE)
    if not text:
        raise ValueError(
            "--strategy=multi_worker_mirrored needs the environment variable TF_CONFIG, which "
            "lists the workers and says which this is (tensorflow.org, multi-worker training)"
        )
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _wrong(f"is not JSON ({error})", text) from error
    if not isinstance(config, dict):
        raise _wrong("must be an object with `cluster` and `task`", text)
    jobs = _jobs(config.get("cluster"), text)
    kind, index = _task(config.get("task"), jobs, text)
    addresses = [address for name in _KINDS for address in jobs.get(name, ())]
    before = len(jobs.get("chief", ())) if kind == "worker" else 0
    return Workers(tuple(addresses), before + index)


def _jobs(cluster: Any, text: str) -> dict[str, list[str]]:
    if not isinstance(cluster, dict) or not cluster:
        raise _wrong("needs `cluster`, the addresses of the workers by their kind", text)
    for name, addresses in cluster.items():
        if name not in _KINDS:
            raise _wrong(f"must list workers and at most one chief, not {name!r}", text)
        if not isinstance(addresses, list) or not addresses or not all(map(_is_address, addresses)):
            raise _wrong(f"must give `cluster.{name}` as a list of host:port", text)
    addresses = [address for listed in cluster.values() for address in listed]
    if len(set(addresses)) < len(addresses):
        raise _wrong("lists an address twice", text)
    if len(cluster.get("chief", ())) > 1:
        raise _wrong("lists more than one chief", text)
    return cluster


def _task(task: Any, jobs: dict[str, list[str]], text: str) -> tuple[str, int]:
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        raise _wrong("needs `task`, the `type` and the `index` of this process", text)
    kind, index = task["type"], task["index"]
    if not isinstance(kind, str) or kind not in jobs:
        raise _wrong(f"has a `task.type` that `cluster` does not list, {kind!r}", text)
    if isinstance(index, str) and index.isascii() and index.isdecimal():
        index = int(index)  # TensorFlow takes it so, and some clusters write it.
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(jobs[kind]):
        raise _wrong(f"must have a `task.index` of 0 to {len(jobs[kind]) - 1}", text)
    return kind, index


def _is_address(address: Any) -> bool:
    if not isinstance(address, str):
        return False
    host, _, port = address.rpartition(":")
    return bool(host) and port.isascii() and port.isdecimal() and 0 < int(port) < 2**16


def _wrong(rule: str, text: str) -> ValueError:
    return ValueError(
        f"the environment variable TF_CONFIG {rule} (tensorflow.org, multi-worker training). "
        f"Received: {text}. Mend it, or unset it to train without other workers"
    )
