"""Waits for the other workers of a training, in Python, where signals are heard."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

from train.fit.workers import Workers

_PAUSE_SECONDS = 0.2
_CONNECT_SECONDS = 2.0
# Ends its parent after some time. The arguments: seconds, a text, the parent.
_LIMIT = """
import os, select, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if not select.select([sys.stdin], [], [], float(sys.argv[1]))[0]:
    print(sys.argv[2], file=sys.stderr, flush=True)
    os.kill(int(sys.argv[3]), signal.SIGKILL)
"""


def wait_for(workers: Workers, seconds: float) -> None:
    """Returns when each of the other workers has been reached at its address.

    Meanwhile this one can be reached at its own.

    Args:
      workers: all of them.
      seconds: how long to wait.

    Raises:
      OSError: this worker's port is taken.
      TimeoutError: not all have come.
    """
    port = int(workers.addresses[workers.index].rpartition(":")[2])
    missing, end = list(workers.others), time.monotonic() + seconds
    if missing:
        print(f"Waiting for the other workers, {', '.join(missing)}", flush=True)
    with _listening(port):
        while missing:
            missing = [address for address in missing if not _answers(address)]
            if missing and time.monotonic() >= end:
                raise TimeoutError(f"{missing_workers(missing)} within {seconds / 60:g} minutes")
            if missing:
                time.sleep(_PAUSE_SECONDS)


@contextlib.contextmanager
def time_limit(workers: Workers, seconds: float) -> Iterator[None]:
    """Ends this process if the block takes longer, whatever it waits for in C++."""
    text = f"error: {missing_workers(workers.others)} within {seconds / 60:g} minutes"
    command = [sys.executable, "-S", "-c", _LIMIT, str(seconds), text, str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.stdin.close()


def missing_workers(addresses: Iterable[str]) -> str:
    """Returns a text for errors that says who was waited for, and what to do."""
    return (
        f"TF_CONFIG lists workers that did not come: {', '.join(addresses)}. Their own logs say "
        "why; start them again together with this one, with the same commands. They were waited "
        "for"
    )


@contextlib.contextmanager
def _listening(port: int) -> Iterator[None]:
    both = socket.has_dualstack_ipv6()
    try:
        server = socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            backlog=128,
            dualstack_ipv6=both,
        )
    except OSError as error:
        raise OSError(
            f"TF_CONFIG gives this worker port {port}, on which it cannot listen: "
            f"{error.strerror}. End the process that does, or give another port to all workers"
        ) from error
    with server:
        yield


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS) as reached:
            # A connection can come about with itself, where nobody listens.
            return reached.getsockname() != reached.getpeername()
    except OSError:
        return False
