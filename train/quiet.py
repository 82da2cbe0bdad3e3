"""Keeps TensorFlow's log off the terminal; imported before TensorFlow, which it does not import."""

from __future__ import annotations

import os

from absl import flags

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_NOTHING = "3"

flags.DEFINE_bool("tensorflow_log", False, "Show what TensorFlow logs of its own workings.")


def quiet_tensorflow(show: bool) -> None:
    """Lets TensorFlow's C++ log nothing; errors reach Python as exceptions anyway.

    Call it before TensorFlow is imported: it looks once.

    Args:
      show: the flag `--tensorflow_log`; leave the log as it is. So it is, too, where the
        environment variable TF_CPP_MIN_LOG_LEVEL says what is wanted.
    """
    if not show:
        os.environ.setdefault(_LEVEL, _NOTHING)
