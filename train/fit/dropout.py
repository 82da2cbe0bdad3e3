"""Dropout whose masks follow from the run's seed and the step, and from nothing before."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

# `alg` of TensorFlow's generators: the fastest one on each kind of device.
_AUTO_SELECT = 3
# How many of each there may be.
_REPLICAS = 2**16
_PARTS = 2**12
# Spreads neighbouring numbers over all 64 bits: 2**64 over the golden ratio.
_SPREAD = 0x9E3779B97F4A7C15


class DropoutSeeds:
    """Gives each dropout layer of a model a new mask each step, without a random state.

    A mask's key is made of the run's seed, the layer, the step, the part of the batch (see
    `train.fit.step`) and the replica. So training that goes on from a step draws the
    masks that it would have drawn, and a block that is computed again for its gradient draws
    the same mask again.

    Each feature's fate takes 16 random bits: the rate is rounded to a multiple of 2**-16, and
    what is kept is scaled up by that rate.

    Args:
      model: its `tf_keras.layers.Dropout` layers are changed, in place.
      seed: the run's.
      step: the variable that counts the steps, such as an optimiser's `iterations`.

    Attributes:
      part: index of the part of the batch that is being computed, below 4096.
    """

    def __init__(self, model: tf_keras.Model, seed: int, step: tf.Variable) -> None:
        self._step = step
        self.part: int | tf.Tensor = 0
        layers = [layer for layer in model.submodules if isinstance(layer, tf_keras.layers.Dropout)]
        for index, layer in enumerate(layers):
            (key,) = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)
            # What the layer's `call` draws its mask with.
            layer._random_generator.dropout = functools.partial(self._dropout, key)

    def _dropout(
        self,
        key: np.uint64,
        inputs: tf.Tensor,
        rate: float,
        noise_shape: Sequence[int] | None = None,
    ) -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        step, part, replica = (tf.cast(n, tf.uint64) for n in (self._step, self.part, replica))
        place = (step * _PARTS + part) * _REPLICAS + replica
        shape = tf.shape(inputs) if noise_shape is None else tf.convert_to_tensor(noise_shape)
        dropped = round(rate * 2**16)
        keep = _at_least(dropped, shape, key + place * _SPREAD)
        scale = tf.cast(2**16 / (2**16 - dropped), inputs.dtype)
        return inputs * (tf.cast(keep, inputs.dtype) * scale)


def _at_least(bound: int, shape: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Returns `<bool>[*shape]`: whether random numbers below 2**16 are at least `bound`."""
    rows = shape[0]
    # Each random number serves for two rows.
    numbers = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.concat([[(rows + 1) // 2], shape[1:]], 0),
        key=key[tf.newaxis],
        counter=tf.zeros([2], tf.uint64),
        alg=_AUTO_SELECT,
        dtype=tf.uint32,
    )
    bound = tf.constant(bound << 16, tf.uint32)
    low = tf.bitwise.left_shift(numbers, tf.constant(16, tf.uint32))
    return tf.concat([numbers >= bound, low >= bound], 0)[:rows]
