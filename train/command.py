"""How a command starts and ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

from absl import app


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Reads the flags and runs `main`; ends without a traceback at Ctrl-C or a closed pipe."""
    try:
        try:
            app.run(main)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
