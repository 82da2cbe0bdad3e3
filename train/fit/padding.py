"""Leaves out columns of a batch that are padding in all of its rows."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# Lengths are rounded up to a multiple of this, which suits matrix units.
_LENGTH_STEP = 16


def trim(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns inputs `<int32>[batch, seq]` cut to the longest row, by `input_mask`."""
    longest = trimmed_length(tf.reduce_max(tf.reduce_sum(inputs["input_mask"], axis=1)))
    return {name: x[:, :longest] for name, x in inputs.items()}


def trimmed_length(longest: Any) -> Any:
    """Returns the length that rows are cut to, if they are as long, for the longest of them."""
    return -(-longest // _LENGTH_STEP) * _LENGTH_STEP
