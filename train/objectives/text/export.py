"""A SavedModel per task that takes raw text and needs no code of this project."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence

import tensorflow as tf
import tf_keras
from tf_keras.export import ExportArchive

from keras_adapters.atomic import atomic_folder
from keras_adapters.preprocessor import BertPreprocessor

_TEXT_INPUTS = ("text", "text_pair")
_TOKEN_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")


def export_text_model(
    folder: str | os.PathLike,
    model: tf_keras.Model,
    preprocess: BertPreprocessor,
    label_names: Sequence[str],
    text_columns: int = 1,
) -> None:
    """Writes a classifier or a regression with its tokeniser and its labels.

    The SavedModel's signatures, each at any batch size:

    `serving_default`: `text` (and `text_pair`, for a task of pairs), `<string>[batch]`.
    `tokens`: `input_word_ids`, `input_mask` and `input_type_ids`, `<int32>[batch, seq]`.

    Both return `label`, `<string>[batch]`, the likeliest label; `probabilities`,
    `<float32>[batch, classes]`; and `labels`, `<string>[batch, classes]`, the classes in
    the probabilities' order, once per example because servers expect a batch axis. Of a
    regression both return `value`, `<float32>[batch]`.

    Read it with `tf.saved_model.load`, after `import tensorflow_text`, whose ops the
    first signature uses.

    Args:
      folder: where; a folder that stands there is replaced, whole.
      model: maps token inputs to logits `<float32>[batch, classes]`, or to values
        `<float32>[batch, 1]`.
      preprocess: the preprocessor that the model was trained with.
      label_names: names of the classes; none for a regression.
      text_columns: 1, or 2 for a task of pairs.
    """
    names = tf.constant(list(label_names), tf.string)

    def answer(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = model(inputs, training=False)
        if not label_names:
            return {"value": outputs[:, 0]}
        probabilities = tf.nn.softmax(outputs)
        batch = tf.shape(probabilities)[0]
        return {
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "probabilities": probabilities,
            "labels": tf.tile(names[tf.newaxis], [batch, 1]),
        }

    def from_text(*columns: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(preprocess(columns))

    def from_tokens(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(dict(zip(_TOKEN_INPUTS, tensors, strict=True)))

    archive = ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        from_text,
        [tf.TensorSpec([None], tf.string, name=name) for name in _TEXT_INPUTS[:text_columns]],
    )
    archive.add_endpoint(
        "tokens",
        from_tokens,
        [tf.TensorSpec([None, None], tf.int32, name=name) for name in _TOKEN_INPUTS],
    )
    # write_out prints a screenful of resource tensors.
    with atomic_folder(folder) as scratch, contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(scratch)
