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

from train.fit.padding import trim

Inputs = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A split's examples, ready to be encoded; equal to itself alone.

    Args:
      lengths: `<int>[examples]`, how long each is, in any one unit.
      gather: from indices `<int32>[batch]` to inputs, each `<int32>[batch, seq]`, and
        labels; runs inside tf.data.
      texts, labels: where inputs are made of texts alone, these, one list per column, and the
        labels `[examples, ...]`: for those who keep what they compute of texts.
    """

    lengths: np.ndarray
    gather: Callable[[tf.Tensor], tuple[Inputs, Any]]
    texts: tuple[Sequence[str], ...] | None = None
    labels: tf.Tensor | None = None

    def __len__(self) -> int:
        return len(self.lengths)


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


def batches(
    source: Source,
    order: np.ndarray,
    strategy: tf.distribute.Strategy,
    fixed_length: bool = False,
    by_length: bool = False,
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

    Returns:
      Pairs of inputs, each `<int32>[batch / replicas, seq]` per replica, and labels.
    """
    replicas = strategy.num_replicas_in_sync

    def gather(indices: tf.Tensor) -> tuple[Inputs, Any]:
        inputs, labels = source.gather(indices)
        # Tokenising forgets the number of texts, which TPUs must know.
        rows = indices.shape[0]
        return {name: tf.ensure_shape(x, [rows, x.shape[1]]) for name, x in inputs.items()}, labels

    def on_host(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local
        mine = order.reshape(len(order), replicas, -1)[:, first : first + local]
        mine = mine.reshape(len(order) * local, -1)
        if by_length:
            ranks = np.argsort(source.lengths[mine], axis=1, kind="stable")
            mine = np.take_along_axis(mine, ranks, axis=1)
        data = tf.data.Dataset.from_tensor_slices(mine)
        data = data.map(gather, num_parallel_calls=tf.data.AUTOTUNE)
        if not fixed_length:
            data = data.map(lambda inputs, labels: (trim(inputs), labels))
        return data.prefetch(tf.data.AUTOTUNE)

    return strategy.distribute_datasets_from_function(on_host)
