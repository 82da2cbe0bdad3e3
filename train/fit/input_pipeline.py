"""Which examples are in which batch, and each host's batches as tf.data.

The order of every epoch follows from the seed and the epoch's number alone, so training can
start at any step, and a global batch holds the same examples on any number of replicas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from train.fit.packing import Layout
from train.fit.padding import trim

Inputs = dict[str, tf.Tensor]


class Source:
    """A split's examples, ready to be encoded.

    Args:
      lengths: `<int>[examples]`, how long each is, in any one unit.
      gather: from indices `<int32>[batch]` to inputs, each `<int32>[batch, seq]`, and
        labels; runs inside tf.data.
      texts, labels: where inputs are made of texts alone, these, one list per column, and the
        labels `[examples, ...]`: for those who keep what they compute of texts.
    """

    # Whether `gather_packed` is there, and `lengths` are tokens.
    packs = False

    def __init__(
        self,
        lengths: np.ndarray,
        gather: Callable[[tf.Tensor], tuple[Inputs, Any]],
        texts: tuple[Sequence[str], ...] | None = None,
        labels: tf.Tensor | None = None,
    ) -> None:
        self.lengths = lengths
        self.gather = gather
        self.texts = texts
        self.labels = labels

    def __len__(self) -> int:
        return len(self.lengths)

    def gather_packed(
        self,
        indices: tf.Tensor,
        first: tf.Tensor,
        rest: tf.Tensor,
        rows: int | tf.Tensor,
        length: int,
        parts: int,
    ) -> tuple[Inputs, Any]:
        """Returns inputs with several texts in a row, as `train.fit.packing` lays them out.

        Args:
          indices: `<int32>[batch]`, which examples.
          first: `<int32>[batch]`, where their first tokens stand, see `packing.Layout`.
          rest: `<int32>[batch]`, where their other tokens begin.
          rows: how many rows each part has.
          length: tokens in a row.
          parts: number of parts.

        Returns:
          `input_word_ids`, `input_type_ids`, `text_numbers` (from 1 on in each part, 0 is
          padding) and `position_ids`, each `<int32>[parts * rows, length]`, and
          `first_positions`, `<int32>[batch]`; and the labels.
        """
        raise NotImplementedError


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Returns the number of full batches, at least 1."""
    return max(1, examples // batch_size)


def epoch_order(examples: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the examples of each batch of an epoch, in random order.

    What does not fill a batch is left out, other examples each epoch; fewer examples than a
    batch takes are repeated to fill one.

    Args:
      examples: their number.
      batch_size: examples per global batch.
      seed: the run's.
      epoch: number of the epoch.

    Returns:
      `<int32>[steps, batch_size]`, indices of examples.
    """
    order = np.random.default_rng([seed, epoch]).permutation(examples)
    steps = steps_per_epoch(examples, batch_size)
    return np.resize(order, (steps, batch_size)).astype(np.int32)


@tf.autograph.experimental.do_not_convert
def batches(
    source: Source,
    order: np.ndarray,
    strategy: tf.distribute.Strategy,
    fixed_length: bool = False,
    by_length: bool = False,
    layout: Layout | None = None,
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Reads batches under a strategy; each host encodes only its own replicas' examples.

    Args:
      source: the split.
      order: `<int32>[steps, batch]`, the examples of each global batch; the batch must be
        a multiple of the strategy's number of replicas.
      strategy: where the batches go; each replica gets an equal run of a batch.
      fixed_length: pad to the full sequence length, as TPUs need, instead of to the
        longest example of each replica's batch.
      by_length: sort each replica's examples by their length, so that parts of its batch
        hold examples of like length.
      layout: where the texts of each batch stand, if they are packed: each replica's are so by
        themselves, in as many rows as the others'. Then nothing is padded or sorted.

    Returns:
      Pairs of inputs, each `<int32>[batch / replicas, seq]` per replica, or as
      `Source.gather_packed` says; and labels.
    """
    replicas = strategy.num_replicas_in_sync

    def on_host(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        start = context.input_pipeline_id * local

        def mine(of_batches: np.ndarray) -> np.ndarray:
            """Returns what is of this host's replicas, one row for each of their batches."""
            split = of_batches.reshape(len(of_batches), replicas, -1)[:, start : start + local]
            return split.reshape(len(of_batches) * local, -1)

        if layout is None:
            data = _padded(source, mine(order), fixed_length, by_length)
        else:
            own = dataclasses.replace(
                layout,
                first=mine(layout.first),
                rest=mine(layout.rest),
                rows=np.repeat(layout.rows, local),
                parts=layout.parts // replicas,
            )
            data = _packed(source, mine(order), own)
        return data.prefetch(tf.data.AUTOTUNE)

    return strategy.distribute_datasets_from_function(on_host)


def _padded(
    source: Source, order: np.ndarray, fixed_length: bool, by_length: bool
) -> tf.data.Dataset:
    def gather(indices: tf.Tensor) -> tuple[Inputs, Any]:
        inputs, labels = source.gather(indices)
        # Tokenising forgets the number of texts, which TPUs must know.
        rows = indices.shape[0]
        return {name: tf.ensure_shape(x, [rows, x.shape[1]]) for name, x in inputs.items()}, labels

    if by_length:
        ranks = np.argsort(source.lengths[order], axis=1, kind="stable")
        order = np.take_along_axis(order, ranks, axis=1)
    data = tf.data.Dataset.from_tensor_slices(order)
    data = data.map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    return data if fixed_length else data.map(lambda inputs, labels: (trim(inputs), labels))


def _packed(source: Source, order: np.ndarray, layout: Layout) -> tf.data.Dataset:
    # One number of rows makes every shape static, as TPUs need.
    static = int(layout.rows[0]) if len(np.unique(layout.rows)) == 1 else None

    def gather(
        indices: tf.Tensor, first: tf.Tensor, rest: tf.Tensor, rows: tf.Tensor
    ) -> tuple[Inputs, Any]:
        return source.gather_packed(
            indices, first, rest, static or rows, layout.length, layout.parts
        )

    data = tf.data.Dataset.from_tensor_slices((order, layout.first, layout.rest, layout.rows))
    return data.map(gather, num_parallel_calls=tf.data.AUTOTUNE)
