"""What a run does when it is asked to end: by Ctrl-C, a lost terminal or a taken machine.

It imports no TensorFlow, so that a run can be guarded from its first moment.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
# Programs that pass signals on, such as `timeout` and shells, send one twice at a time.
_ECHO_SECONDS = 0.2
# How long code that never comes back to Python is waited for, outside of training.
_GRACE_SECONDS = 5.0


class Preempted(BaseException):
    """A signal ended the run; what was to be kept is.

    It is no `Exception`, as `KeyboardInterrupt` is none: who mends errors must not catch it.

    Args:
      signum: number of the signal; shells expect the exit status 128 + signum.
      where: what was going on, such as `while loading the encoder`.

    Attributes:
      signum: the argument.
    """

    def __init__(self, signum: int, where: str) -> None:
        super().__init__(
            f"{signal.Signals(signum).name} {where}. The same command goes on from there"
        )
        self.signum = signum


def end_process(error: Preempted) -> NoReturn:
    """Says what ended the run and exits with the shell's status of it; for a command's `main`.

    A further signal while Python and TensorFlow shut down ends the process without a word.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    print(f"Stopped: {error}.", file=sys.stderr, flush=True)
    sys.exit(128 + error.signum)


class Interruptions:
    """Turns SIGINT, SIGTERM and SIGHUP into one `Preempted`, at a moment that loses nothing.

    Use it as a context around the whole run. A signal raises `Preempted` at once, except in
    a `deferred` block, which looks itself at `asked` wherever it may end. A second signal
    ends the process at once. What does not come back to Python, such as a wait in
    TensorFlow for another process, is ended after some seconds, with the same text.

    A signal that the process was started to ignore, as `nohup` does, stays ignored. Signals
    are the main thread's: in another one the object does nothing.

    Args:
      doing: what goes on outside of the blocks of `during`.

    Attributes:
      asked: number of the first signal that came, else `None`.
    """

    def __init__(self, doing: str = "starting") -> None:
        self.asked: int | None = None
        self._doing = doing
        self._deferring = False
        self._promise = ""
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interruptions:
        if threading.current_thread() is not threading.main_thread():
            return self
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        # `None` is a handler that is not Python's.
        self._former = {
            number: handler
            for number, handler in handlers.items()
            if handler not in (signal.SIG_IGN, None)
        }
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._former_fd = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="interruptions", daemon=True)
        self._watcher.start()
        self._install()
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        if not self._former:
            return
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_fd)
        self._mouth.close()  # Ends the thread.
        self._watcher.join()
        self._ear.close()
        if self.asked and kind is None:
            raise Preempted(self.asked, self._where())

    @contextlib.contextmanager
    def during(self, doing: str) -> Iterator[None]:
        """Says what goes on in a block, such as `writing the SavedModel`."""
        outer, self._doing = self._doing, doing
        self._install()
        try:
            yield
        finally:
            self._doing = outer
            self._install()

    @contextlib.contextmanager
    def deferred(self, promise: str = "the run stops after this step") -> Iterator[None]:
        """Lets a block choose its moment: a signal only sets `asked`.

        Args:
          promise: what is said then.
        """
        self._install()
        self._promise = promise
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def _install(self) -> None:
        # Anew for each block, since TensorFlow takes SIGTERM for itself among several workers.
        for number in self._former:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.asked:
            return  # The thread sees to it.
        self.asked = number
        if not self._deferring:
            raise Preempted(number, self._where())
        name = signal.Signals(number).name
        _say(f"{name}: {self._promise}; a second signal stops it at once")

    def _where(self) -> str:
        return f"while {self._doing}"

    def _watch(self) -> None:
        """Ends the process where the main thread cannot: it may be deep inside TensorFlow."""
        number, first, since = None, 0.0, 0.0
        while True:
            ready, _, _ = select.select([self._ear], [], [], 0.1 if number else None)
            now = time.monotonic()
            if ready:
                received = self._ear.recv(1)
                if not received:
                    return
                if received[0] not in self._former:
                    continue
                if number and now - first >= _ECHO_SECONDS:
                    name = signal.Signals(received[0]).name
                    _end(received[0], f"{name}, the second signal. The same command goes on")
                if not number:
                    number, first, since = received[0], now, now
            if self._deferring:
                since = now
            elif number and now - since >= _GRACE_SECONDS:
                _end(number, str(Preempted(number, self._where())))


def _say(text: str) -> None:
    # Not through sys.stderr, which may be in the midst of a line of its own.
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


def _end(number: int, text: str) -> None:
    _say(f"Stopped: {text}.")
    os._exit(128 + number)
