"""A SavedModel that answers raw questions and needs no code of this project."""

from __future__ import annotations

import os

import tensorflow as tf
import tf_keras

from keras_adapters.preprocessor import BertPreprocessor, to_utf8
from train.objectives.saved_model import write_saved_model
from train.objectives.spans.decode import DecodeSettings
from train.objectives.spans.windows import Windows, cut_windows, pack_windows
from train.objectives.trimming import trim, trims
from train.tasks.forms import Spans

_NONE = -float("inf")
_TEXT_INPUTS = ("question", "context")


def export_span_model(
    folder: str | os.PathLike,
    model: tf_keras.Model,
    preprocess: BertPreprocessor,
    form: Spans,
    decoding: DecodeSettings,
    has_unanswerable: bool,
) -> None:
    """Writes a span model with its tokeniser, its windows and its decoding.

    The SavedModel's signatures, of which more is said by `write_saved_model`:

    `serving_default`: `question` and `context`, `<string>[batch]`, the context of any
    length. All its windows go through the model in one batch, padded to little more than the
    longest. Returns `answer`,
    `<string>[batch]`; `start` and `end`, `<int32>[batch]`, where it stands in the context
    in code points; `score`, `<float32>[batch]`, the best span's; and `null_score`,
    `<float32>[batch]`, as in `train.objectives.spans.decode`. Where the model was trained to find
    that there is no answer, `answer` can be empty; `start` and `end` are 0 then.
    `tokens`: `input_word_ids`, `input_mask` and `input_type_ids`, `<int32>[batch, seq]`.
    Returns `start_logits` and `end_logits`, `<float32>[batch, seq]`.

    Args:
      folder: where; a folder that stands there is replaced, whole.
      model: what `build_span_model` builds.
      preprocess: the preprocessor that the model was trained with.
      form: the windows that the model was trained with.
      decoding: how the answer is chosen.
      has_unanswerable: whether the answer may be that there is none.
    """
    cut = trim if trims(model) else dict

    def from_text(question: tf.Tensor, context: tf.Tensor) -> dict[str, tf.Tensor]:
        context = to_utf8(context)
        questions = preprocess.tokenize(question)[:, : form.max_query_length]
        tokens, starts, ends = preprocess.tokenize_with_offsets(context)
        windows = cut_windows(
            questions.row_lengths(), tokens.row_lengths(), preprocess.seq_length, form
        )
        own = tf.range(tokens.nrows())  # Each question has a context of its own.
        inputs = pack_windows(preprocess, questions, tokens, own, windows)
        logits = model(cut(inputs), training=False)
        scores, first, last = _best_spans(logits, windows, decoding.max_answer_length)
        null_score = tf.math.segment_min(
            logits["start_logits"][:, 0] + logits["end_logits"][:, 0], windows.question
        )
        score, first, last = _best_of_each_question(windows.question, scores, first, last)
        found = score > _NONE
        score = tf.where(found, score, null_score)
        if has_unanswerable:
            found &= null_score - score <= decoding.null_threshold

        def place(offsets: tf.RaggedTensor, token: tf.Tensor) -> tf.Tensor:
            """Looks a token's offset up; 0, which is put behind the last, without an answer."""
            values = tf.pad(offsets.values, [[0, 1]])
            index = tf.where(found, offsets.row_starts() + token, tf.size(values, tf.int64) - 1)
            return tf.cast(tf.gather(values, index), tf.int32)

        start, end = place(starts, first), place(ends, last)
        return {
            "answer": tf.strings.substr(context, start, end - start, unit="UTF8_CHAR"),
            "start": start,
            "end": end,
            "score": score,
            "null_score": null_score,
        }

    write_saved_model(
        folder,
        model,
        _TEXT_INPUTS,
        from_text=from_text,
        from_tokens=lambda inputs: model(inputs, training=False),
    )


def _best_spans(
    logits: dict[str, tf.Tensor], windows: Windows, longest: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds each window's best span as `decode.best_spans` does.

    Returns:
      Its score `<float32>[windows]`, -inf if the window holds none, and the indices of its
      first and last token in the context, `<int64>[windows]`.
    """
    starts, ends = logits["start_logits"], logits["end_logits"]
    positions = tf.range(tf.shape(starts, tf.int64)[1])
    inside = (positions >= windows.first[:, tf.newaxis]) & (
        positions < (windows.first + windows.size)[:, tf.newaxis]
    )
    starts, ends = tf.where(inside, starts, _NONE), tf.where(inside, ends, _NONE)
    ends = tf.pad(ends, [[0, 0], [0, longest - 1]], constant_values=_NONE)
    # [windows, seq, longest]: a span by its first token and its length.
    scores = starts[:, :, tf.newaxis] + tf.signal.frame(ends, longest, 1)
    scores = tf.reshape(scores, [tf.shape(scores)[0], -1])
    best = tf.argmax(scores, axis=1)
    first = best // longest - windows.first + windows.start
    return tf.reduce_max(scores, axis=1), first, first + best % longest


def _best_of_each_question(
    question: tf.Tensor, scores: tf.Tensor, *others: tf.Tensor
) -> list[tf.Tensor]:
    """Returns the values of each question's best window, in the arguments' order."""
    of_question = tf.RaggedTensor.from_value_rowids(scores, question)
    # One column more: without questions there is none, of which the largest could be taken.
    table = tf.pad(of_question.to_tensor(_NONE), [[0, 0], [0, 1]], constant_values=_NONE)
    best = tf.argmax(table, axis=1) + of_question.row_starts()
    return [tf.gather(values, best) for values in (scores, *others)]
