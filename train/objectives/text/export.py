"""A SavedModel per task that takes raw text and needs no code of this project."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from keras_adapters.preprocessor import BertPreprocessor
from train.objectives.saved_model import write_saved_model
from train.objectives.trimming import trim, trims

_TEXT_INPUTS = ("text", "text_pair")


def export_text_model(
    folder: str | os.PathLike,
    model: tf_keras.Model,
    preprocess: BertPreprocessor,
    label_names: Sequence[str],
    text_columns: int = 1,
) -> None:
    """Writes a classifier or a regression with its tokeniser and its labels.

    The signature `serving_default` takes `text` (and `text_pair`, for a task of pairs),
    `<string>[batch]`, and pads them to little more than the longest; what `tokens` takes is said
    by `write_saved_model`. Both return
    `label`, `<string>[batch]`, the likeliest label; `probabilities`, `<float32>[batch,
    classes]`; and `labels`, `<string>[batch, classes]`, the classes in the probabilities'
    order, once per example because servers expect a batch axis. Of a regression both return
    `value`, `<float32>[batch]`.

    Args:
      folder: where; a folder that stands there is replaced, whole.
      model: maps token inputs to logits `<float32>[batch, classes]`, or to values
        `<float32>[batch, 1]`.
      preprocess: the preprocessor that the model was trained with.
      label_names: names of the classes; none for a regression.
      text_columns: 1, or 2 for a task of pairs.
    """
    names = tf.constant(list(label_names), tf.string)
    cut = trim if trims(model) else dict

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

    write_saved_model(
        folder,
        model,
        _TEXT_INPUTS[:text_columns],
        from_text=lambda *columns: answer(cut(preprocess(columns))),
        from_tokens=answer,
    )
