"""Commands side by side, on this machine or a cluster: tasks of Ray, each with a process.

Of Ray only its tasks are used. The runs of a grid are known beforehand, and each saves its
state and goes on by itself; what Ray Tune adds, searches, schedulers and checkpoints of its
own, would stand beside that. A task gets its share of a machine's processors and GPUs, and if
its worker or its machine dies, Ray gives it to another.

Every machine of a cluster must have this package, and all files under the same paths: a
shared file system.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from train.folder_lock import FolderLock
from train.ray_extra import Share, connect, resources
from train.study import guard

_RETRIES = 3  # Of workers that die.
_CORES_PER_COMMAND = 4
_TICK_SECONDS = 0.5
_POLL_SECONDS = 0.1
_TAIL_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Command:
    """What is to be run.

    Args:
      name: what it is called.
      arguments: of the Python interpreter.
      folder: what it works in; no two at a time do.
      log: the file that takes what it prints.
      working_directory: where it starts.
    """

    name: str
    arguments: tuple[str, ...]
    folder: pathlib.Path
    log: pathlib.Path
    working_directory: str


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
      name: the command's.
      problem: the last thing that it said, or what became of it; `None` if it ended well.
    """

    name: str
    problem: str | None


def execute(
    commands: Iterable[Command],
    address: str | None,
    at_once: int | None,
    tell: Callable[[int, Ended | None], None],
    is_asked_to_stop: Callable[[], bool],
    deferring_signals: Callable[[], contextlib.AbstractContextManager[Any]],
) -> None:
    """Runs commands, as many at once as there is room for, and ends when they have.

    Args:
      commands: what is to be run, in this order.
      address: of a cluster, as of `ray.init`; `None` is this machine.
      at_once: how many at once; by default one a GPU, without GPUs one for every four
        processors.
      tell: is told how many are at work, and which one has ended: with `None` for that, time
        has passed.
      is_asked_to_stop: whether to end early. Those at work get SIGTERM and are waited for; they
        are not told of.
      deferring_signals: returns a context in which signals do nothing but let
        `is_asked_to_stop` answer; entered once Ray, which has its own way with them, has started.

    Raises:
      OSError: there is no cluster at the address, or Ray cannot start.
    """
    with connect(address) as ray, deferring_signals():
        share = _share(ray, at_once)
        start = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus or None, max_retries=_RETRIES)(
            run
        )
        waiting, running = collections.deque(commands), {}
        stopping = False
        while running or waiting:
            if is_asked_to_stop():
                stopping = True
                waiting.clear()
                for reference in running:
                    ray.cancel(reference)  # Each time anew: a worker may miss one.
            while waiting and len(running) < share.count:
                command = waiting.popleft()
                running[start.remote(command, _environment(share))] = command.name
            done, _ = ray.wait(list(running), timeout=_TICK_SECONDS) if running else ([], [])
            for reference in done:
                ended = _result(ray, reference, running.pop(reference))
                if not stopping:
                    tell(len(running), ended)
            tell(len(running), None)


def run(command: Command, environment: Mapping[str, str]) -> Ended:
    """Runs one command, in the worker of a task.

    If the task is cancelled or the worker dies, the command gets SIGTERM, see
    `train.study.guard`. A command that another worker has left behind is waited for.

    Args:
      command: what is to be run.
      environment: variables that are set for it unless they are set.
    """
    _wait_until_free(command.folder)
    with command.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", guard.__name__, sys.executable, *command.arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=command.working_directory,
            env={**environment, **os.environ, "PYTHONPATH": _python_path()},
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                time.sleep(_POLL_SECONDS)  # Ray can interrupt Python, not a system call.
        finally:
            status = _end(process)
    return Ended(command.name, _problem(status, command.log))


def _end(process: subprocess.Popen) -> int:
    """Lets the guard end its command and waits for both, however often Ray interrupts."""
    while True:
        try:
            process.stdin.close()
            return process.wait()
        except KeyboardInterrupt:
            continue


def _share(ray: Any, at_once: int | None) -> Share:
    total = ray.cluster_resources()
    if not at_once and not total.get("GPU") and not total.get("TPU"):
        machines = sum(node["Alive"] for node in ray.nodes())
        at_once = max(machines, int(total.get("CPU", 1)) // _CORES_PER_COMMAND)
    return resources(ray, at_once)


def _environment(share: Share) -> dict[str, str]:
    """Returns what keeps a command to its share."""
    threads = str(max(1, int(share.cpus)))
    environment = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads}
    if 0 < share.gpus < 1:
        environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return environment


def _python_path() -> str:
    """Returns where this package is found, first, and what was looked through before."""
    package = str(pathlib.Path(guard.__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))


def _wait_until_free(folder: pathlib.Path) -> None:
    """Waits for the end of who works in a folder; raises OSError if that does not come."""
    deadline = time.monotonic() + guard.GRACE_SECONDS + 30
    while True:
        try:
            FolderLock(folder, "output_dir").close()
            return
        except OSError as error:
            in_use = isinstance(error.__cause__, BlockingIOError)
            if not in_use or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def _result(ray: Any, reference: Any, name: str) -> Ended:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return Ended(name, str(error.cause))
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Ended(name, f"its worker was lost {_RETRIES + 1} times: {lines[0]}")


def _problem(status: int, log: pathlib.Path) -> str | None:
    """Returns what a command that ended with a status said last, or which signal ended it."""
    if not status:
        return None
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    said = [line for line in lines if line.startswith(("error: ", "Stopped: "))] or lines
    how = f"exit status {status}"
    if status > 128 and status - 128 in signal.valid_signals():
        how = f"ended by {signal.Signals(status - 128).name}"
    return f"{said[-1].removeprefix('error: ')} ({how})" if said else how
