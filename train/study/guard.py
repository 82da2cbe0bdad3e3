"""Runs a command that must not outlive the process that asked for it.

    python -m train.study.guard COMMAND ...

Standard input is a pipe that the asking process holds open. When it is closed, by that
process or by its death, the command gets SIGTERM, and after `GRACE_SECONDS` SIGKILL. On Linux
it gets SIGTERM too when this process itself is killed. The exit status is the command's, of
one that a signal ended 128 and the signal's number.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

GRACE_SECONDS = 120.0
_PR_SET_PDEATHSIG = 1  # Of Linux's <sys/prctl.h>.


def main(command: Sequence[str]) -> int:
    """Runs the command to its end; returns the exit status."""
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_bind_to_parent()
    )
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _watch(child: subprocess.Popen) -> None:
    while os.read(sys.stdin.fileno(), 1):  # Not buffered: a buffer's lock would outlive `main`.
        pass
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _bind_to_parent() -> Callable[[], object] | None:
    """Returns what a child calls to be told of its parent's death; `None` where none can."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # Found here: a child should do as little as it can.
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
