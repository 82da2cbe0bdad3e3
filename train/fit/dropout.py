"""Dropout whose masks follow from the run's seed and the step, and from nothing before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

# How many of each there may be.
_REPLICAS = 2**16
_PARTS = 2**12
# Spreads neighbouring numbers over all 64 bits: 2**64 over the golden ratio.
_SPREAD = 0x9E3779B97F4A7C15
_RANGE = 2**32  # Of a feature's random number.


class DropoutSeeds:
    """Gives each dropout layer of a model a new mask each step, without a random state.

    A mask's key is made of the run's seed, the layer, the step, the part of the batch (see
    `train.fit.step`) and the replica, and the mask of the key alone (see `keep_mask`). So
    training that goes on from a step draws the masks that it would have drawn, and a block that
    is computed again for its gradient draws the same mask again.

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
            layer._random_generator.dropout = _LayerDropout(self, key)

    def place(self) -> tf.Tensor:
        """Returns `<uint64>[]`, which differs between steps, parts and replicas."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        step, part, replica = (tf.cast(n, tf.uint64) for n in (self._step, self.part, replica))
        return (step * _PARTS + part) * _REPLICAS + replica


class _LayerDropout:
    """A layer's dropout, in the place of that of Keras's random generator."""

    def __init__(self, seeds: DropoutSeeds, key: np.uint64) -> None:
        self._seeds = seeds
        self._key = key

    def key(self) -> tf.Tensor:
        return self._key + self._seeds.place() * _SPREAD

    def __call__(
        self, inputs: tf.Tensor, rate: float, noise_shape: tf.Tensor | None = None
    ) -> tf.Tensor:
        if noise_shape is None:
            return dropout(inputs, self.key(), rate)
        return inputs * dropout(tf.ones(noise_shape, inputs.dtype), self.key(), rate)


def key_of(layer: tf_keras.layers.Dropout) -> tf.Tensor | None:
    """Returns the key of the mask that a layer would draw now.

    Args:
      layer: of a model that has `DropoutSeeds`. It would keep `keep_mask(key, shape, rate)` of
        its inputs' shape and its own rate.

    Returns:
      `<uint64>[]`, for the present step, part and replica; None if the layer draws with Keras's
      own generator, as it does before its model has seeds.
    """
    draw = layer._random_generator.dropout
    return draw.key() if isinstance(draw, _LayerDropout) else None


def dropout(inputs: tf.Tensor, key: tf.Tensor, rate: float) -> tf.Tensor:
    """Drops features and scales up those that it keeps.

    It is one operation, forward and backward, in which XLA computes the mask where it is used:
    the backward pass needs nothing but the key.

    Args:
      inputs: `<float>[...]`, of known rank.
      key: `<uint64>[]`, see `keep_mask`.
      rate: probability of dropping a feature, see `keep_mask`.

    Returns:
      `<float>[...]`, of the inputs' shape and type.

    Raises:
      ValueError: the rate is out of range.
    """

    @tf.custom_gradient
    def compute(values: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return _dropout(values, key, rate), lambda upstream: (compute(upstream, key), None)

    return compute(inputs, key)


@tf.function(jit_compile=True, autograph=False)
def _dropout(inputs: tf.Tensor, key: tf.Tensor, rate: float) -> tf.Tensor:
    scaled = inputs * tf.cast(keep_scale(rate), inputs.dtype)
    return tf.where(keep_mask(key, _shape(inputs), rate), scaled, tf.zeros([], inputs.dtype))


def keep_scale(rate: float) -> float:
    """Returns what kept features are multiplied by, which is 1 / (1 - rate) of the rounded rate.

    Raises:
      ValueError: the rate is out of range.
    """
    return _RANGE / (_RANGE - _threshold(rate))


def keep_mask(key: tf.Tensor, shape: Sequence[int | tf.Tensor], rate: float) -> tf.Tensor:
    """Returns which features to keep: a function of the key and of each feature's index.

    There is neither a random operation nor a state: the mask is integer arithmetic on an iota,
    the same on every device, which XLA fuses into what uses the mask. Outside of XLA each of
    its dozen operations would go through memory.

    A feature's 32 random bits are `mix(mix(low + index) ^ high)`, of its index in row-major order
    and the two halves of the key, where `mix` is `lowbias32`, two rounds of xorshift and multiply
    that were searched for their avalanche; the key's own bits are spread by the output function
    of SplitMix64 before. Where the bits, as a fraction of 2**32, are below the rate, the feature
    is dropped.

    Args:
      key: `<uint64>[]`; any two keys, also neighbouring ones, have independent masks.
      shape: of the mask; at least one dimension, at most 2**32 features.
      rate: probability of dropping a feature, at least 0 and below 1; it is rounded to a
        multiple of 2**-32.

    Returns:
      `<bool>[*shape]`.

    Raises:
      ValueError: the rate is out of range.

    Reference:
      Wellons 2018, "Prospecting for hash functions" (https://nullprogram.com/blog/2018/07/31/);
      Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 17;
      Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", for a counter's hash in
      the place of a generator's state.
    """
    low, high = _halves(_spread(key))
    bits = _mix(_mix(_count(low, shape)) ^ high)
    return bits >= tf.constant(_threshold(rate), tf.uint32)


def _threshold(rate: float) -> int:
    threshold = round(rate * _RANGE)
    if not 0 <= threshold < _RANGE:
        raise ValueError(f"`rate` must be at least 0 and below 1. Received: rate={rate}")
    return threshold


def _shape(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if n is None else n for axis, n in enumerate(tensor.shape)]


def _count(start: tf.Tensor, shape: Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Returns `<uint32>[*shape]`, counted up from a start in row-major order.

    Each axis is added by broadcasting, for a long iota that is reshaped would not be fused on a
    TPU; and to the start, for TensorFlow would make constants of what does not depend on it.
    """
    count, stride = start, tf.ones([], tf.uint32)
    for axis, size in reversed(list(enumerate(shape))):
        along = tf.cast(tf.range(size), tf.uint32) * stride
        count += tf.reshape(along, [-1] + [1] * (len(shape) - 1 - axis))
        stride *= tf.cast(size, tf.uint32)
    return count


def _halves(key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(key, tf.uint32), tf.cast(_shift(key, 32), tf.uint32)


def _spread(key: tf.Tensor) -> tf.Tensor:
    """SplitMix64's output function."""
    key = (key ^ _shift(key, 30)) * tf.constant(0xBF58476D1CE4E5B9, tf.uint64)
    key = (key ^ _shift(key, 27)) * tf.constant(0x94D049BB133111EB, tf.uint64)
    return key ^ _shift(key, 31)


def _mix(bits: tf.Tensor) -> tf.Tensor:
    """`lowbias32`."""
    bits = (bits ^ _shift(bits, 16)) * tf.constant(0x7FEB352D, tf.uint32)
    bits = (bits ^ _shift(bits, 15)) * tf.constant(0x846CA68B, tf.uint32)
    return bits ^ _shift(bits, 16)


def _shift(bits: tf.Tensor, places: int) -> tf.Tensor:
    return tf.bitwise.right_shift(bits, tf.constant(places, bits.dtype))
