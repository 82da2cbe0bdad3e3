"""A split of texts, tokenised once, whatever is then read of it and how often."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from keras_adapters.preprocessor import BertPreprocessor
from train.fit.input_pipeline import Inputs, Source
from train.tasks.data import Examples

_CHUNK = 512
_WORTH_A_BAR = 50_000  # Examples; what a few seconds tokenise.


class TextSource(Source):
    """A split whose examples are texts, or pairs of them.

    It is tokenised when something of it is first read; without labels they are 0.

    Args:
      examples: the split.
      preprocess: makes the encoder's inputs.
    """

    packs = True

    def __init__(self, examples: Examples, preprocess: BertPreprocessor) -> None:
        labels = examples.labels
        self.texts = examples.columns
        self.labels = tf.constant(np.zeros(len(examples), np.int32) if labels is None else labels)
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self.texts[0])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, special ones too, `<int32>[examples]`."""
        return self._tokens.lengths.numpy()

    @functools.cached_property
    def _tokens(self) -> _Tokens:
        with tf.init_scope():  # Whoever reads first may be tracing a graph.
            return _tokenize(self.texts, self._preprocess)

    def gather(self, indices: tf.Tensor) -> tuple[Inputs, tf.Tensor]:
        """Returns inputs, each `<int32>[batch, seq_length]`, and labels."""
        tokens, length = self._tokens, self._preprocess.seq_length
        lengths = tf.gather(tokens.lengths, indices)
        within = tf.ragged.range(lengths)
        at = within + tf.gather(tokens.starts, indices)[:, tf.newaxis]

        def padded(values: tf.Tensor) -> tf.Tensor:
            read = tf.cast(tf.gather(values, at.values), tf.int32)
            return within.with_values(read).to_tensor(shape=[indices.shape[0], length])

        inputs = {
            "input_word_ids": padded(tokens.word_ids),
            "input_mask": tf.sequence_mask(lengths, length, tf.int32),
            "input_type_ids": padded(tokens.type_ids),
        }
        return inputs, tf.gather(self.labels, indices)

    def gather_packed(
        self,
        indices: tf.Tensor,
        first: tf.Tensor,
        rest: tf.Tensor,
        rows: int | tf.Tensor,
        length: int,
        parts: int,
    ) -> tuple[Inputs, Any]:
        """Returns inputs with several texts in a row, see `Source.gather_packed`."""
        tokens, texts_in_part = self._tokens, indices.shape[0] // parts
        within = tf.ragged.range(tf.gather(tokens.lengths, indices))
        text, position = tf.cast(within.value_rowids(), tf.int32), within.values
        read = tf.gather(tf.gather(tokens.starts, indices), text) + position
        to = tf.where(position == 0, tf.gather(first, text), tf.gather(rest, text) + position - 1)
        to += text // texts_in_part * rows * length

        def laid_out(values: tf.Tensor) -> tf.Tensor:
            size = parts * rows * length
            flat = tf.scatter_nd(to[:, tf.newaxis], tf.cast(values, tf.int32), [size])
            return tf.reshape(flat, [parts * rows, length])

        inputs = {
            "input_word_ids": laid_out(tf.gather(tokens.word_ids, read)),
            "input_type_ids": laid_out(tf.gather(tokens.type_ids, read)),
            "text_numbers": laid_out(text % texts_in_part + 1),
            "position_ids": laid_out(position),
            "first_positions": first,
        }
        return inputs, tf.gather(self.labels, indices)


class _Tokens:
    """The tokens of all examples, one after the other.

    Args:
      word_ids: `<int32>[tokens]`.
      type_ids: `<uint8>[tokens]`.
      lengths: `<int32>[examples]`.
    """

    def __init__(self, word_ids: np.ndarray, type_ids: np.ndarray, lengths: np.ndarray) -> None:
        self.word_ids = tf.constant(word_ids)
        self.type_ids = tf.constant(type_ids)
        self.lengths = tf.constant(lengths)
        self.starts = tf.constant(np.cumsum(lengths, dtype=np.int32) - lengths)


@tf.autograph.experimental.do_not_convert
def _tokenize(texts: tuple[Sequence[str], ...], preprocess: BertPreprocessor) -> _Tokens:
    columns = tuple(tf.constant(column, tf.string) for column in texts)

    def of_chunk(*chunk: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        inputs = preprocess(chunk)
        real = tf.cast(inputs["input_mask"], tf.bool)
        word_ids = tf.boolean_mask(inputs["input_word_ids"], real)
        type_ids = tf.boolean_mask(inputs["input_type_ids"], real)
        lengths = tf.math.count_nonzero(real, axis=1, dtype=tf.int32)
        return word_ids, tf.cast(type_ids, tf.uint8), lengths

    chunks = tf.data.Dataset.from_tensor_slices(columns).batch(_CHUNK)
    chunks = chunks.map(of_chunk, num_parallel_calls=tf.data.AUTOTUNE)
    count, read = len(texts[0]), []
    with tqdm.tqdm(
        total=count, desc="tokenizing", unit=" examples", disable=count < _WORTH_A_BAR
    ) as bar:
        for chunk in chunks.as_numpy_iterator():
            read.append(chunk)
            bar.update(len(chunk[-1]))
    empty = [(np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.int32))]
    return _Tokens(*map(np.concatenate, zip(*(read or empty), strict=True)))
