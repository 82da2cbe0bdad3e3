"""How a command starts and ends."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from absl import app

# Which Keras TensorFlow imports: the one that computes here, for another takes a second more.
_KERAS = "TF_USE_LEGACY_KERAS"
# By itself TensorFlow takes oneDNN's products on those CPUs alone that have instructions for
# neural networks, such as AVX512_VNNI. Those that have AVX2 alone are faster by it, too.
_ONE_DNN = "TF_ENABLE_ONEDNN_OPTS"
_STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}  # In the order of their numbers.


def run(main: Callable[[Sequence[str]], None], outlives_readers: bool = False) -> None:
    """Reads the flags and runs `main`; ends without a traceback at Ctrl-C or a closed pipe.

    Args:
      main: is given the arguments that are not flags, behind the command's name.
      outlives_readers: go on where nobody reads what is printed, or a disk cannot take it:
        for work that is worth more than its words.
    """
    _open_closed_streams()
    set_environment()

    def start(arguments: Sequence[str]) -> None:
        if outlives_readers:  # After the flags: --help is no such work.
            sys.stdout, sys.stderr = _Outlived(sys.stdout), _Outlived(sys.stderr)
        main(arguments)

    try:
        try:
            app.run(start)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        _discard(sys.stdout)  # Python flushes once more when it ends.
        sys.exit(128 + signal.SIGPIPE)


def set_environment() -> None:
    """Says to TensorFlow, before it is imported, how it computes best here."""
    os.environ.update(tensorflow_environment())


def tensorflow_environment() -> dict[str, str]:
    """Returns what `set_environment` adds: what the environment says already counts."""
    said = {_KERAS: "1"}
    if platform.machine().lower() in ("x86_64", "amd64"):
        said[_ONE_DNN] = "1"
    return {name: value for name, value in said.items() if name not in os.environ}


class _Outlived:
    """A stream whose end is none of its writer's business.

    Lines are written as they come, with what the stream's encoding lacks as escapes.

    Args:
      stream: standard output or standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
        self._stream = stream

    def write(self, text: str) -> int:
        self._do(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._do(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _do(self, what: Callable[[], Any]) -> None:
        try:
            what()
        except OSError as error:
            _discard(self._stream)
            if self._stream.fileno() != sys.stderr.fileno():
                reason = f"standard output cannot be written ({error.strerror})"
                print(f"{reason}: going on without it", file=sys.stderr)


def _discard(stream: TextIO) -> None:
    """Lets what is still to be written to a stream go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _open_closed_streams() -> None:
    """Opens what the caller has closed, or the next file would be written where it was."""
    for number, (name, mode) in enumerate(_STREAMS.items()):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))
