"""Which examples are in which batch, and each host's batches as tf.data.

The order of every epoch follows from the seed and the epoch's number alone, so training can
start at any step, and a global batch holds the same examples on any number of replicas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# Sorting this many batches' examples by length leaves little padding in each batch.
_POOL = 8
# Lengths are rounded up to a multiple of this, which suits matrix units.
_LENGTH_STEP = 16

Inputs = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Source:
    """A split's examples, ready to be encoded.

    Args:
      lengths: `<int>[examples]`, how long each is, in any one unit.
      gather: from indices `<int32>[batch]` to inputs, each `<int32>[batch, seq]`, and
        labels; runs inside tf.data.
    """

    lengths: np.ndarray
    gather: Callable[[tf.Tensor], tuple[Inputs, Any]]

    def __len__(self) -> int:
        return len(self.lengths)


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Returns the number of full batches, at least 1."""
    return max(1, examples // batch_size)


def epoch_order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the examples of each batch of an epoch.

    Examples of like length are put together, within pools of a few batches of a random
    order, so that less is computed on padding. What does not fill a batch is left out, other
    examples each epoch; fewer examples than a batch takes are repeated to fill one.

    Args:
      lengths: of the examples.
      batch_size: examples per global batch.
      seed, epoch: what the order follows from.

    Returns:
      `<int32>[steps, batch_size]`, indices of examples.
    """
    random = np.random.default_rng([seed, epoch])
    steps = steps_per_epoch(len(lengths), batch_size)
    order = np.resize(random.permutation(len(lengths)), steps * batch_size).astype(np.int32)
    pool = _POOL * batch_size
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        order[start : start + pool] = part[np.argsort(lengths[part], kind="stable")]
    return random.permutation(order.reshape(steps, batch_size))


def batches(
    source: Source,
    order: np.ndarray,
    strategy: tf.distribute.Strategy,
    fixed_length: bool = False,
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Reads batches under a strategy; each host encodes only its own replicas' examples.

    Args:
      source: the split.
      order: `<int32>[steps, batch]`, the examples of each global batch; the batch must be
        a multiple of the strategy's number of replicas.
      strategy: where the batches go; each replica gets an equal run of a batch.
      fixed_length: pad to the full sequence length, as TPUs need, instead of to the
        longest example of each replica's batch.

    Returns:
      Pairs of inputs, each `<int32>[batch / replicas, seq]` per replica, and labels.
    """
    replicas = strategy.num_replicas_in_sync

    def on_host(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local
        mine = order.reshape(len(order), replicas, -1)[:, first : first + local]
        data = tf.data.Dataset.from_tensor_slices(mine.reshape(len(order) * local, -1))
        data = data.map(source.gather, num_parallel_calls=tf.data.AUTOTUNE)
        if not fixed_length:
            data = data.map(_trim)
        return data.prefetch(tf.data.AUTOTUNE)

    return strategy.distribute_datasets_from_function(on_host)


def _trim(inputs: Inputs, labels: Any) -> tuple[Inputs, Any]:
    """Cuts off columns that are padding in the whole batch."""
    longest = tf.reduce_max(tf.reduce_sum(inputs["input_mask"], axis=1))
    longest = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
    return {name: x[:, :longest] for name, x in inputs.items()}, labels
