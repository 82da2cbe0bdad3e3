"""Fits a model from the step where it stands to the last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from train.fit import input_pipeline
from train.fit.input_pipeline import Source


class DevMetrics(tf_keras.callbacks.Callback):
    """Adds the dev split's metrics to each epoch's logs; stands before who reads them.

    Args:
      evaluate: returns the metrics by name.
    """

    def __init__(self, evaluate: Callable[[], dict[str, float]]) -> None:
        super().__init__()
        self._evaluate = evaluate

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates; Keras hands the same logs to all callbacks."""
        logs.update({f"val_{name}": value for name, value in self._evaluate().items()})


def fit(
    model: tf_keras.Model,
    source: Source,
    strategy: tf.distribute.Strategy,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    steps_done: int = 0,
    fixed_length: bool = False,
    callbacks: Sequence[tf_keras.callbacks.Callback] = (),
) -> None:
    """Trains with Keras's `fit`, going on after `steps_done` steps.

    Args:
      model: compiled under the strategy.
      source: the training split.
      strategy: where to train.
      batch_size: examples per step, over all replicas together.
      epochs: passes over the split, from the very start.
      seed: of the order.
      steps_done: steps that the model has been trained already.
      fixed_length: see `input_pipeline.batches`.
      callbacks: Keras callbacks.
    """
    steps = input_pipeline.steps_per_epoch(len(source), batch_size)

    def fit_epochs(first: int, last: int, skipped: int) -> None:
        orders = [
            input_pipeline.epoch_order(len(source), batch_size, seed, epoch)
            for epoch in range(first, last)
        ]
        order = np.concatenate(orders)[skipped:]
        model.fit(
            input_pipeline.batches(source, order, strategy, fixed_length, by_length=True),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps - skipped,
            verbose=0,
            callbacks=list(callbacks),
        )

    epoch, skipped = divmod(steps_done, steps)
    if skipped:
        fit_epochs(epoch, epoch + 1, skipped)
        epoch += 1
    if epoch < epochs:
        fit_epochs(epoch, epochs, 0)
