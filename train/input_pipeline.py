"""A split's examples as batches of an encoder's inputs."""

from __future__ import annotations

import tensorflow as tf

from train.tasks.data import Examples
from train.text import BertPreprocessor

# Sorting this many batches' examples by length leaves little padding in each batch.
_POOL = 8
# Lengths are rounded up to a multiple of this, which suits matrix units.
_LENGTH_STEP = 16


def training_batches(
    examples: Examples,
    preprocess: BertPreprocessor,
    batch_size: int,
    seed: int,
    fixed_length: bool = False,
) -> tf.data.Dataset:
    """Shuffled batches of a training split, in another order each epoch.

    Examples of like length are put together (within pools of a few batches) and padded
    to the longest of their batch, so less is computed on padding.

    Args:
      examples: the split.
      preprocess: makes the encoder's inputs.
      batch_size: examples per batch; an epoch's last batch may hold fewer.
      seed: of the order.
      fixed_length: pad every batch to the preprocessor's length instead, as TPUs need.

    Returns:
      Pairs of inputs, each `<int32>[batch, seq]`, and labels `<int32>[batch]`.
    """
    data = tf.data.Dataset.from_tensor_slices((examples.columns, examples.labels))
    data = data.shuffle(len(examples), seed=seed, reshuffle_each_iteration=True)
    if fixed_length:
        return _encode(data.batch(batch_size), preprocess).prefetch(tf.data.AUTOTUNE)
    data = _encode(data.batch(batch_size * _POOL), preprocess)
    data = data.map(_sort_by_length).unbatch().batch(batch_size)
    data = data.shuffle(_POOL, seed=seed, reshuffle_each_iteration=True)
    return data.map(_trim).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    examples: Examples,
    preprocess: BertPreprocessor,
    batch_size: int,
    fixed_length: bool = False,
) -> tf.data.Dataset:
    """Batches of a split in its own order; arguments and results as `training_batches`."""
    data = tf.data.Dataset.from_tensor_slices((examples.columns, examples.labels))
    data = _encode(data.batch(batch_size), preprocess)
    if not fixed_length:
        data = data.map(_trim)
    return data.prefetch(tf.data.AUTOTUNE)


def _encode(data: tf.data.Dataset, preprocess: BertPreprocessor) -> tf.data.Dataset:
    return data.map(
        lambda columns, labels: (preprocess(columns), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def _lengths(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.reduce_sum(inputs["input_mask"], axis=1)


def _sort_by_length(
    inputs: dict[str, tf.Tensor], labels: tf.Tensor
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    order = tf.argsort(_lengths(inputs), stable=True)
    return tf.nest.map_structure(lambda x: tf.gather(x, order), (inputs, labels))


def _trim(
    inputs: dict[str, tf.Tensor], labels: tf.Tensor
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Cuts off columns that are padding in the whole batch."""
    longest = tf.reduce_max(_lengths(inputs))
    longest = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
    return {name: x[:, :longest] for name, x in inputs.items()}, labels
