"""A training step that may compute its batch in parts, to use less memory."""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf
import tf_keras

from train.fit.dropout import DropoutSeeds
from train.fit.frozen_copies import FrozenCopies
from train.fit.padding import trim


class AccumulatingModel(tf_keras.Model):
    """A functional model whose step adds up the gradients of parts of its batch.

    Set `parts` before training; the gradient is that of the whole batch's mean loss.

    Attributes:
      parts: number of equal parts; 1 is Keras's own step. It must divide each replica's
        batch.
      parts_at_once: how many may be in work at a time; 1 takes the least memory.
      trim_parts: leave out each part's padding; the inputs are an encoder's.
      dropout_seeds: told which part is being computed, if set.
      frozen_copies: what steps read in the place of frozen weights, if set.
    """

    parts: int = 1
    parts_at_once: int = 1
    trim_parts: bool = False
    dropout_seeds: DropoutSeeds | None = None
    frozen_copies: FrozenCopies | None = None

    @tf.autograph.experimental.do_not_convert
    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes one optimiser step on inputs and labels, each `[batch, ...]`."""
        with self.frozen_copies or contextlib.nullcontext():
            return super().train_step(data) if self.parts == 1 else self._step_in_parts(data)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluates on inputs and labels, each `[batch, ...]`."""
        with self.frozen_copies or contextlib.nullcontext():
            return super().test_step(data)

    def predict_step(self, data: Any) -> Any:
        """Returns the outputs for inputs, each `[batch, ...]`."""
        with self.frozen_copies or contextlib.nullcontext():
            return super().predict_step(data)

    def _step_in_parts(self, data: Any) -> dict[str, tf.Tensor]:
        data = tf.nest.map_structure(self._split, data)

        def add(part: tf.Tensor, *sums: tf.Tensor) -> list[tf.Tensor]:
            gradients = self._gradients(part, tf.nest.map_structure(lambda x: x[part], data))
            return [part + 1, *(s + g for s, g in zip(sums, gradients, strict=True))]

        zeros = [tf.zeros(v.shape, v.dtype) for v in self.trainable_variables]
        _, *sums = tf.while_loop(
            lambda part, *_: part < self.parts,
            add,
            [tf.constant(0), *zeros],
            parallel_iterations=self.parts_at_once,
        )
        means = [total / self.parts for total in sums]
        self.optimizer.apply_gradients(zip(means, self.trainable_variables, strict=True))
        return {metric.name: metric.result() for metric in self.metrics}

    def _split(self, tensor: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(tensor)
        return tf.reshape(tensor, tf.concat([[self.parts, shape[0] // self.parts], shape[1:]], 0))

    def _gradients(self, part: tf.Tensor, data: Any) -> list[tf.Tensor]:
        inputs, labels = data
        if self.trim_parts:
            inputs = trim(inputs)
        if self.dropout_seeds:
            self.dropout_seeds.part = part
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, labels, self(inputs, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        if self.dropout_seeds:
            self.dropout_seeds.part = 0
        return [tf.convert_to_tensor(gradient) for gradient in gradients]
