"""Ray, an extra: whether it is there, a cluster of it, and what a worker gets of that."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

_PATIENCE_SECONDS = 10


def check_installed(what: str) -> None:
    """Raises ValueError if Ray is not installed.

    Args:
      what: needs it.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError(f"{what} needs Ray: pip install 'keras-adapters[ray]'")


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[Any]:
    """Yields the module `ray`, connected to a cluster until the block ends.

    Ray tells nobody about its use from here, and its workers' output stays in its logs.

    Args:
      address: a cluster's, as of `ray.init`; None starts one on this machine, which ends with
        the block.

    Raises:
      OSError: there is no cluster at the address, or none can be started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    local = {"include_dashboard": False} if address is None else {}
    try:
        _knock(address)
        with _interruptible():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
                **local,
            )
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is an OSError.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        where = "Ray cannot start"
        if address:
            where = (
                f"there is no cluster at --ray_address={address}, or it wants a token, which Ray "
                "sends with RAY_AUTH_MODE=token in the environment"
            )
        raise OSError(f"{where}: {reason}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lets workers be started that hear SIGINT, by which Ray cancels what they do.

    They inherit that it is ignored, as a shell makes a command in the background ignore it.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _knock(address: str | None) -> None:
    """Raises OSError if nobody listens at HOST:PORT: where Ray cannot connect, it aborts."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_SECONDS).close()


@dataclasses.dataclass(frozen=True)
class Share:
    """What workers get of a cluster.

    Attributes:
      count: how many there are.
      cpus: of each.
      gpus: of each, parts of one also.
    """

    count: int
    cpus: float
    gpus: float


def resources(ray: Any, count: int | None) -> Share:
    """Divides a cluster between workers.

    Args:
      ray: connected to it.
      count: of the workers; None is one a GPU, or one a machine if there are none.
    """
    total = ray.cluster_resources()
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = total.get("CPU", 1.0), total.get("GPU", 0.0)
    count = count or int(gpus) or len(machines)
    # No more than one machine has, or the worker would wait for it for ever.
    share = min(cpus / count, max(machine.get("CPU", 0.0) for machine in machines) or cpus)
    return Share(
        count=count,
        cpus=float(math.floor(share)) if share >= 1 else share,
        gpus=min(1.0, gpus / count),
    )
