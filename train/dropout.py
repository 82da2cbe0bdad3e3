"""Dropout whose masks follow from the run's seed and the step, and from nothing before."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
import tf_keras


class DropoutSeeds:
    """Gives each dropout layer of a model a new mask each step, without a random state.

    A mask's seed is made of the run's seed, the layer, the step, the part of the batch (see
    `train.train_step`) and the replica. So training that goes on from a step draws the
    masks that it would have drawn, and a block that is computed again for its gradient draws
    the same mask again.

    Args:
      model: its `tf_keras.layers.Dropout` layers are changed, in place.
      seed: the run's.
      step: the variable that counts the steps, such as an optimiser's `iterations`.

    Attributes:
      part: index of the part of the batch that is being computed.
    """

    def __init__(self, model: tf_keras.Model, seed: int, step: tf.Variable) -> None:
        self._step = step
        self.part: int | tf.Tensor = 0
        layers = [layer for layer in model.submodules if isinstance(layer, tf_keras.layers.Dropout)]
        for index, layer in enumerate(layers):
            # What the layer's `call` draws its mask with.
            layer._random_generator.dropout = functools.partial(
                self._dropout, tf.constant([seed, index], tf.int64)
            )

    def _dropout(
        self, seed: tf.Tensor, inputs: tf.Tensor, rate: float, noise_shape: Any = None
    ) -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        for number in (self._step, self.part, replica):
            seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int64))
        return tf.nn.experimental.stateless_dropout(inputs, rate, seed, noise_shape=noise_shape)
