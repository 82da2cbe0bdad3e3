"""A model's outputs for every example of a split, once each, under any strategy."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from train.fit import input_pipeline
from train.fit.execution import Execution
from train.fit.inference_blocks import inference_blocks
from train.fit.input_pipeline import Source
from train.fit.packing import lay_out


class Predictor:
    """Computes a model's outputs for whole splits.

    Args:
      model: any built model.
      strategy: what it was built under.
      batch_size: examples per step; rounded up to a multiple of the replicas.
      execution: how a batch looks.
    """

    def __init__(
        self,
        model: tf_keras.Model,
        strategy: tf.distribute.Strategy,
        batch_size: int,
        execution: Execution = Execution(),  # noqa: B008  It is frozen.
    ) -> None:
        replicas = strategy.num_replicas_in_sync
        self._strategy = strategy
        self._batch_size = -(-batch_size // replicas) * replicas
        self._execution = execution
        trims = not execution.fixed_length  # On TPUs it is fixed, and the blocks stay as they are.
        trimmed_apart = replicas > 1 and trims and not execution.packing

        def on_replica(inputs: Any) -> Any:
            with getattr(model, "frozen_copies", None) or contextlib.nullcontext():
                outputs = model(inputs, training=False)
            return tf.nest.map_structure(_fill_up, outputs) if trimmed_apart else outputs

        @tf.function(reduce_retracing=True)
        @tf.autograph.experimental.do_not_convert
        def step(inputs: Any) -> Any:
            with inference_blocks(model, copied=False) if trims else contextlib.nullcontext():
                outputs = strategy.run(on_replica, args=(inputs,))
            return tf.nest.map_structure(lambda x: strategy.gather(x, axis=0), outputs)

        self._step = step

    def __call__(self, source: Source, between: Callable[[], None] = lambda: None) -> Any:
        """Returns the model's outputs, NumPy arrays `[examples, ...]`, in the split's order.

        Outputs of `[batch, seq, ...]` are of unlike lengths from batch to batch, and from
        replica to replica, unless the execution has a fixed length; they are filled up with the
        lowest number of their dtype.

        Args:
          source: the split.
          between: called after each step.
        """
        order = np.argsort(source.lengths, kind="stable").astype(np.int32)
        steps = -(-len(order) // self._batch_size)
        filled = np.resize(order, (steps, self._batch_size))  # The last batch repeats some.
        packing, layout = self._execution.packing, None
        if packing is not None:
            # Each replica's batch gets as many texts of each length as the others'.
            replicas = self._strategy.num_replicas_in_sync
            filled = filled.reshape(-1, steps * replicas).T.reshape(steps, -1)
            packing = dataclasses.replace(packing, row_counts=1)
            layout = lay_out(source.lengths, filled, packing, replicas)
        data = input_pipeline.batches(
            source, filled, self._strategy, self._execution.fixed_length, layout=layout
        )
        outputs = []
        for inputs, _ in data:
            outputs.append(tf.nest.map_structure(np.asarray, self._step(inputs)))
            between()
        _, which = np.unique(filled, return_index=True)
        return tf.nest.map_structure(lambda *parts: _join(parts)[which], *outputs)


def _fill_up(output: tf.Tensor) -> tf.Tensor:
    """Fills an output of one replica up to the longest of all: each trims its own batch."""
    if output.shape.rank < 2:
        return output
    length = tf.shape(output)[1]
    context = tf.distribute.get_replica_context()
    longest = tf.reduce_max(context.all_gather(length[tf.newaxis], axis=0))
    paddings = [[0, 0], [0, longest - length], *[[0, 0]] * (output.shape.rank - 2)]
    return tf.pad(output, paddings, constant_values=output.dtype.min)


def _join(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """Joins along the first axis, after filling up the second to the longest."""
    if parts[0].ndim > 1:
        longest = max(part.shape[1] for part in parts)
        lowest = tf.as_dtype(parts[0].dtype).min
        parts = tuple(
            np.pad(
                part,
                ((0, 0), (0, longest - part.shape[1]), *[(0, 0)] * (part.ndim - 2)),
                constant_values=lowest,
            )
            for part in parts
        )
    return np.concatenate(parts)
