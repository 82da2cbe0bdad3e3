"""Fits a model from the step where it stands to the last one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from train.fit import input_pipeline
from train.fit.execution import Execution
from train.fit.input_pipeline import Source
from train.fit.packing import Layout, lay_out
from train.fit.padding import trimmed_length


class DevMetrics(tf_keras.callbacks.Callback):
    """Adds the dev split's metrics to each epoch's logs; stands before who reads them.

    Args:
      evaluate: returns the metrics by name.

    Attributes:
      last: the last epoch's metrics by name; `None` before the first has ended.
    """

    def __init__(self, evaluate: Callable[[], dict[str, float]]) -> None:
        super().__init__()
        self._evaluate = evaluate
        self.last: dict[str, float] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates; Keras hands the same logs to all callbacks."""
        self.last = self._evaluate()
        logs.update({f"val_{name}": value for name, value in self.last.items()})


@dataclasses.dataclass(frozen=True)
class Plan:
    """All batches of a training, from its very start.

    Args:
      order: `<int32>[steps, batch]`, the examples of each global batch.
      steps_per_epoch: of these.
      execution: how a step is computed, and so what a batch looks like.
      replicas: how many there are.
      layout: where texts stand, if they are packed.
    """

    order: np.ndarray
    steps_per_epoch: int
    execution: Execution
    replicas: int
    layout: Layout | None = None

    def useful_token_share(self, source: Source, seq_length: int) -> float:
        """Returns the share of what is computed that is no padding.

        Args:
          source: the training split, whose lengths are tokens.
          seq_length: tokens of an example that is padded to a fixed length.
        """
        lengths, execution = source.lengths[self.order], self.execution
        if self.layout is not None:
            rows = int(self.layout.rows.sum()) * self.layout.parts
            return float(lengths.sum() / (rows * self.layout.length))
        if execution.fixed_length:
            return float(lengths.mean() / seq_length)
        parts = self.replicas * (execution.parts if execution.trim_parts else 1)
        each = np.sort(lengths.reshape(len(lengths), self.replicas, -1), axis=2)
        each = each.reshape(len(lengths), parts, -1)
        padded = np.minimum(trimmed_length(each.max(axis=2)), seq_length)
        return float(lengths.sum() / (padded.sum() * each.shape[2]))


def plan_training(
    source: Source,
    strategy: tf.distribute.Strategy,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    execution: Execution = Execution(),  # noqa: B008  It is frozen.
) -> Plan:
    """Plans the batches of a training.

    Args:
      source: the training split.
      strategy: where to train.
      batch_size: examples per step, over all replicas together.
      epochs: passes over the split.
      seed: of the order.
      execution: how a step is computed.
    """
    orders = [
        input_pipeline.epoch_order(len(source), batch_size, seed, epoch) for epoch in range(epochs)
    ]
    order, replicas, layout = np.concatenate(orders), strategy.num_replicas_in_sync, None
    if execution.packing is not None:
        # Of all batches, also when some are done: how many rows there are depends on all.
        layout = lay_out(source.lengths, order, execution.packing, replicas * execution.parts)
    return Plan(order, len(orders[0]), execution, replicas, layout)


def fit(
    model: tf_keras.Model,
    source: Source,
    strategy: tf.distribute.Strategy,
    plan: Plan,
    *,
    steps_done: int = 0,
    callbacks: Sequence[tf_keras.callbacks.Callback] = (),
) -> None:
    """Trains with Keras's `fit`, going on after `steps_done` steps.

    Args:
      model: compiled under the strategy.
      source: the training split.
      strategy: where to train.
      plan: the batches of the whole training.
      steps_done: steps that the model has been trained already.
      callbacks: Keras callbacks.
    """
    steps, last = plan.steps_per_epoch, len(plan.order)

    def fit_from(start: int, end: int) -> None:
        """Trains from a step to an epoch's end; all epochs but the first are whole."""
        model.fit(
            input_pipeline.batches(
                source,
                plan.order[start:end],
                strategy,
                plan.execution.fixed_length,
                by_length=True,
                layout=plan.layout and plan.layout[start:end],
            ),
            initial_epoch=start // steps,
            epochs=end // steps,
            steps_per_epoch=steps - start % steps,
            verbose=0,
            callbacks=list(callbacks),
        )

    if steps_done % steps:
        end = -(-steps_done // steps) * steps
        fit_from(steps_done, end)
        steps_done = end
    if steps_done < last:
        fit_from(steps_done, last)
