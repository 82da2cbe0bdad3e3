"""Leaves out of a served batch the columns that are padding in all of its rows.

Lengths are few, so that what is compiled or set up for each length is soon there.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

# Up to so many tokens, lengths are rounded up to a multiple of so many.
_STEPS = ((64, 8), (128, 16), (256, 32))
_LAST_STEP = 64


def served_length(tokens: int, longest: int) -> int:
    """Returns the length that texts of so many tokens are padded to.

    Args:
      tokens: of the batch's longest text.
      longest: the length that the model was trained with, which none is beyond.
    """
    step = next((step for most, step in _STEPS if tokens <= most), _LAST_STEP)
    return min(longest, max(step, -(-tokens // step) * step))


def trim(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns an encoder's inputs cut to the `served_length` of the longest row.

    Args:
      inputs: `<int32>[batch, longest]` each, of a known length; `input_mask` says what is not
        padding. There may be no rows.
    """
    mask = inputs["input_mask"]
    longest = mask.shape[1]
    lengths = np.array([served_length(size, longest) for size in range(longest + 1)], np.int32)
    tokens = tf.reduce_max(tf.reduce_sum(mask, axis=1))
    length = tf.gather(tf.constant(lengths), tf.maximum(tokens, 0))  # Of no rows it is below.
    return {name: each[:, :length] for name, each in inputs.items()}


def trims(model: tf_keras.Model) -> bool:
    """Says whether what a model computes of a text does not depend on its padding."""
    return not any(isinstance(layer, networks.FNet) for layer in (model, *model.submodules))
