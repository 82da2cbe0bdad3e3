"""Keeps TensorFlow's log off the terminal; imported before TensorFlow, which it does not import."""

from __future__ import annotations

import os

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
