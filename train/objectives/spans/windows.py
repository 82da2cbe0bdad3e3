"""Questions and their contexts as an encoder's inputs: windows that slide over a context.

The same functions make the windows in training, in evaluation and in the SavedModel.
An input is `[CLS] question [SEP] window of the context [SEP] padding`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_adapters.preprocessor import BertPreprocessor
from train.tasks.forms import Spans
from train.tasks.squad import Questions

_SPECIAL_TOKENS = 1 + Spans.columns
_TEXTS_AT_ONCE = 512


class Windows(NamedTuple):
    """Which tokens each window shows.

    Attributes:
      question: index of the window's question.
      start: index of the first of its context's tokens, of the context.
      size: how many of them there are.
      first: position of that first token in the input.
      Each is `<int64>[windows]`; the windows of a question follow one another.
    """

    question: tf.Tensor
    start: tf.Tensor
    size: tf.Tensor
    first: tf.Tensor


def cut_windows(
    question_lengths: tf.Tensor, context_lengths: tf.Tensor, seq_length: int, form: Spans
) -> Windows:
    """Cuts each question's context; there is at least one window per question.

    Args:
      question_lengths: tokens of each question, `<int64>[questions]`.
      context_lengths: tokens of each question's context, `<int64>[questions]`.
      seq_length: length of the inputs, special tokens included.
      form: how to cut.
    """
    room = seq_length - _SPECIAL_TOKENS - question_lengths
    stride = tf.minimum(tf.constant(form.doc_stride, tf.int64), (room + 1) // 2)
    counts = 1 + tf.maximum(-(-(context_lengths - room) // stride), 0)
    question = tf.repeat(tf.range(tf.size(counts, tf.int64)), counts)
    start = tf.ragged.range(counts).flat_values * tf.gather(stride, question)
    size = tf.minimum(tf.gather(room, question), tf.gather(context_lengths, question) - start)
    # [CLS], the question and [SEP] come before.
    return Windows(question, start, size, tf.gather(question_lengths, question) + 2)


def pack_windows(
    preprocess: BertPreprocessor,
    questions: tf.RaggedTensor,
    contexts: tf.RaggedTensor,
    context_of: tf.Tensor,
    windows: Windows,
) -> dict[str, tf.Tensor]:
    """Returns an encoder's inputs for windows.

    Args:
      preprocess: packs the tokens.
      questions: their tokens, none above the limit, `<int32>[questions, (tokens)]`.
      contexts: theirs, `<int32>[contexts, (tokens)]`.
      context_of: index of each question's context, `<int64>[questions]`.
      windows: which to pack.

    Returns:
      `input_word_ids`, `input_mask` and `input_type_ids`, `<int32>[windows, seq]` each.
    """
    context = tf.gather(context_of, windows.question)
    starts = tf.gather(contexts.row_starts(), context) + windows.start
    tokens = tf.ragged.range(starts, starts + windows.size)
    shown = tokens.with_values(tf.gather(contexts.values, tokens.values))
    return preprocess.pack([tf.gather(questions, windows.question), shown])


class WindowedQuestions:
    """A split of questions as windows, which are packed when they are asked for.

    Args:
      split: the questions.
      preprocess: tokenises and packs, to the windows' length.
      form: how to cut.

    Raises:
      ValueError: the longest question leaves a window no room.

    Attributes:
      split: the questions.
      windows: the windows' table.
      offsets: for each context its tokens' first characters and the characters after their
        last, `<int64>[tokens, 2]`.
    """

    def __init__(self, split: Questions, preprocess: BertPreprocessor, form: Spans) -> None:
        if preprocess.seq_length < form.shortest():
            raise ValueError(
                f"--max_seq_length must be at least {form.shortest()}, to hold "
                f"{form.max_query_length} tokens of a question and some of its context. "
                f"Received: {preprocess.seq_length}"
            )
        self.split = split
        self._preprocess = preprocess
        texts = [question.text for question in split.questions]
        chunks = [preprocess.tokenize(chunk) for chunk in _chunks(texts)]
        self._questions = tf.concat(chunks, axis=0)[:, : form.max_query_length]
        parts = [preprocess.tokenize_with_offsets(chunk) for chunk in _chunks(split.contexts)]
        self._contexts, starts, ends = (
            tf.concat(list(ragged), axis=0) for ragged in zip(*parts, strict=True)
        )
        self.offsets = np.split(
            np.stack([starts.values.numpy(), ends.values.numpy()], axis=1),
            starts.row_splits.numpy()[1:-1],
        )
        self._context_of = tf.constant([q.context for q in split.questions], tf.int64)
        self.windows = cut_windows(
            self._questions.row_lengths(),
            tf.gather(self._contexts.row_lengths(), self._context_of),
            preprocess.seq_length,
            form,
        )

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.windows.question)

    def inputs(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the encoder's inputs for some of the windows.

        Args:
          indices: of windows, `<int64>[batch]`.

        Returns:
          `input_word_ids`, `input_mask` and `input_type_ids`, `<int32>[batch, seq]` each.
        """
        chosen = Windows(*(tf.gather(column, indices) for column in self.windows))
        return pack_windows(
            self._preprocess, self._questions, self._contexts, self._context_of, chosen
        )

    def labels(self) -> np.ndarray:
        """Returns where in the windows the questions' first answers stand.

        Returns:
          The positions of the first and the last token that an answer has a character of,
          `<int32>[windows, 2]`; 0, that of [CLS], where a window does not hold all of the
          answer or the question has none.
        """
        spans = np.array([self._answer_tokens(index) for index in range(len(self.split))])
        question, start, size, first = (column.numpy() for column in self.windows)
        spans = spans[question] - start[:, np.newaxis]
        held = (spans[:, 0] >= 0) & (spans[:, 1] < size) & (spans[:, 0] <= spans[:, 1])
        return np.where(held[:, np.newaxis], spans + first[:, np.newaxis], 0).astype(np.int32)

    def _answer_tokens(self, index: int) -> tuple[int, int]:
        """Returns the first and the last token of a question's first answer, or -1 twice."""
        question = self.split.questions[index]
        if not question.answers:
            return -1, -1
        answer = question.answers[0]
        starts, ends = self.offsets[question.context].T
        first = np.searchsorted(ends, answer.start, side="right")
        last = np.searchsorted(starts, answer.start + len(answer.text), side="left") - 1
        return int(first), int(last)


def _chunks(texts: list[str]) -> list[tf.Tensor]:
    return [
        tf.constant(texts[start : start + _TEXTS_AT_ONCE])
        for start in range(0, len(texts), _TEXTS_AT_ONCE)
    ]
