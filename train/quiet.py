"""Keeps TensorFlow's log off the terminal; imported before TensorFlow, which it does not need."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from absl import flags, logging

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_NOTHING = "3"

flags.DEFINE_bool("tensorflow_log", False, "Show what TensorFlow logs of its own workings.")


def quiet_tensorflow(show: bool) -> None:
    """Lets TensorFlow's C++ log nothing, and its Python warnings alone.

    Errors reach Python as exceptions anyway. Call it before TensorFlow is imported: it looks
    once.

    Args:
      show: the flag `--tensorflow_log`; leave the logs as they are. So they are, too, where
        the environment variable TF_CPP_MIN_LOG_LEVEL or absl's flag `--verbosity` says what
        is wanted of the one or the other.
    """
    if show:
        return
    os.environ.setdefault(_LEVEL, _NOTHING)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)


@contextlib.contextmanager
def _no_standard_error() -> Iterator[None]:
    """Sends what C++ code writes to the standard error nowhere."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def quiet_xla() -> None:
    """Has XLA say now, and not to the terminal, what it says once: that it compiles.

    That line does not heed TF_CPP_MIN_LOG_LEVEL. Where the logs are to be shown it is left.
    """
    import tensorflow as tf

    if os.environ.get(_LEVEL, "0") != "0":
        with _no_standard_error(), tf.device("CPU:0"):
            tf.function(lambda: tf.zeros([]) + 1, jit_compile=True)()
