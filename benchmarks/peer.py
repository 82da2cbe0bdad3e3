"""AdapterHub's environment, and what benchmarks that compare with it share.

AdapterHub needs PyTorch, so its programs run in an environment of their own: `interpreter` finds
or makes it. A comparison runs both sides as processes of their own, in turn (`alternate`), and
tells the ratio of each pair (`ratios`): what else the machine does meets both sides alike.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TypeVar

# In this order, for adapters takes any torch.
PACKAGES = {"torch": "2.13.0", "adapters": "1.3.0", "scikit-learn": None}
_VARIABLE = "ADAPTER_HUB_VENV"
_UNFINISHED = ".unfinished"
_LAST_LINES = 20
_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""
_One = TypeVar("_One")


class ChildError(RuntimeError):
    """A process ended with an error; the text has its command and its last lines."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """A process that has ended well.

    Args:
      output: what it wrote to standard output.
      seconds: from its start to its end.
      processor_seconds: of user and system time, of it and the processes it waited for.
      peak_memory_bytes: its resident memory at most. Linux counts what its parent held when it
        forked, too: start processes from a small one.
      seconds_to_sign: from its start until it said what `run_child` was to look for, if it did.
    """

    output: str
    seconds: float
    processor_seconds: float
    peak_memory_bytes: int
    seconds_to_sign: float | None = None


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of several values, and the least and the greatest of them."""

    median: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def interpreter(folder: str | os.PathLike | None = None) -> pathlib.Path:
    """Returns the Python of AdapterHub's environment, which is made if it is not there.

    Making it takes minutes and the network. pip's own variables hold: with
    `PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu` PyTorch comes without CUDA.

    Args:
      folder: the environment's. Default: what the variable ADAPTER_HUB_VENV names, else a folder
        in the user's caches.

    Raises:
      ValueError: something else is in the folder, or other versions; it is left as it is.
      ChildError: the environment cannot be made.
    """
    path = pathlib.Path(folder or os.environ.get(_VARIABLE) or _default_folder()).absolute()
    unfinished = path / _UNFINISHED
    if path.exists() and not unfinished.exists() and (path.is_file() or any(path.iterdir())):
        _check_versions(path)
        return _python(path)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    unfinished.touch()
    print(f"Making AdapterHub's environment in {path}", file=sys.stderr, flush=True)
    run_child([sys.executable, "-m", "venv", path])
    for name, version in PACKAGES.items():
        package = f"{name}=={version}" if version else name
        run_child([_python(path), "-m", "pip", "install", "--quiet", package])
    unfinished.unlink()
    return _python(path)


def _default_folder() -> pathlib.Path:
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    pinned = "-".join(f"{name}-{version}" for name, version in PACKAGES.items() if version)
    return pathlib.Path(caches, "keras_adapters", pinned)


def _python(environment: pathlib.Path) -> pathlib.Path:
    return environment / "bin" / "python"


def _check_versions(environment: pathlib.Path) -> None:
    wanted = ", ".join(f"{name} {version or ''}".strip() for name, version in PACKAGES.items())
    rule = f"AdapterHub's environment must hold {wanted}, or be a new folder"
    try:
        found = json.loads(run_child([_python(environment), "-c", _VERSIONS, *PACKAGES]).output)
    except OSError as error:
        raise ValueError(f"{rule}. Received: {environment}, which is no environment") from error
    for name, version in PACKAGES.items():
        has = found[name]
        if has is None or (version and has.partition("+")[0] != version):
            raise ValueError(f"{rule}. Received: {environment}, with {name} {has}")


def run_child(
    command: Sequence[str | os.PathLike],
    environment: Mapping[str, str] | None = None,
    folder: str | os.PathLike | None = None,
    sign: str | None = None,
) -> Finished:
    """Runs a process to its end.

    Args:
      command: the program and its arguments.
      environment: variables that it has beside this process's own.
      folder: where it starts; this process's folder by default.
      sign: what it writes to standard error at a moment of interest.

    Raises:
      OSError: it cannot be started.
      ChildError: it ended with an error.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            list(map(os.fspath, command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
        with process.stderr:
            try:
                errors, seconds_to_sign = _listen(process.stderr, sign, start)
                _, status, used = os.wait4(process.pid, 0)
            except BaseException:  # Ctrl-C: it does not go on alone.
                process.kill()
                process.wait()
                raise
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    if process.returncode:
        lines = [*said.splitlines(), *errors.splitlines()][-_LAST_LINES:]
        raise ChildError(
            f"{' '.join(map(str, command))}\nended with {process.returncode}; its last lines:\n"
            + "\n".join(lines)
        )
    return Finished(
        output=said,
        seconds=seconds,
        processor_seconds=used.ru_utime + used.ru_stime,
        peak_memory_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        seconds_to_sign=seconds_to_sign,
    )


def _listen(stream: IO[bytes], sign: str | None, start: float) -> tuple[str, float | None]:
    """Returns all that a stream says, and how long after the start the sign came."""
    said, seconds = b"", None
    while chunk := stream.read1():
        said += chunk
        if sign and seconds is None and sign.encode() in said:
            seconds = time.monotonic() - start
    return said.decode("utf-8", "replace"), seconds


def alternate(
    ours: Callable[[], _One], theirs: Callable[[], _One], pairs: int
) -> Iterator[tuple[_One, _One]]:
    """Yields what the two sides return, a pair at a time; each side is first in half of them."""
    for index in range(pairs):
        if index % 2:
            second = theirs()
            yield ours(), second
        else:
            yield ours(), theirs()


def spread(values: Sequence[float]) -> Spread:
    """Returns the median, the least and the greatest of values, of which there is one or more."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Returns the spread of our value over theirs, pair by pair."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])
