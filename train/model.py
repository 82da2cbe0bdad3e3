"""Encoder, adapters and head: restored, spliced, frozen."""

from __future__ import annotations

import os

import tf_keras

from keras_adapters.config import AdapterConfig
from keras_adapters.converters.hugging_face import load_hugging_face
from keras_adapters.freezing import set_trainable
from keras_adapters.model_garden import add_adapters


def build_classifier(
    encoder_folder: str | os.PathLike,
    num_classes: int,
    *,
    method: str = "adapters",
    adapter: AdapterConfig | None = None,
    top_layers: int | None = None,
    pooling: str = "pooler",
    dropout: float = 0.1,
) -> tuple[tf_keras.Model, tf_keras.layers.Layer]:
    """Builds a text classifier on a pretrained BERT encoder.

    The head is dropout and one dense layer on one vector per text.

    Args:
      encoder_folder: a Hugging Face BERT folder.
      num_classes: number of classes, at least 2.
      method: a transfer method, see `keras_adapters.freezing`.
      adapter: adapters to add to the encoder, or `None`.
      top_layers: number of blocks to train with the method `top_layers`.
      pooling: that vector: `pooler`, BERT's pooled output as in the paper, or `mean`, the
        mean of the last block's output over the tokens that are not padding.
      dropout: probability of dropping a feature of that vector in training.

    Returns:
      The model and the encoder in it. The model maps `input_word_ids`, `input_mask` and
      `input_type_ids`, each `<int32>[batch, seq]`, to logits `<float32>[batch, classes]`.

    Raises:
      FileNotFoundError, ValueError: as `load_hugging_face`, `add_adapters` and
        `set_trainable` do.
    """
    # The first position is all that the pooler reads.
    output_range = 1 if pooling == "pooler" else None
    encoder = load_hugging_face(encoder_folder, output_range=output_range)
    if adapter:
        add_adapters(encoder, adapter)
    outputs = encoder(encoder.inputs)
    if pooling == "pooler":
        pooled = outputs["pooled_output"]
    else:
        pooled = tf_keras.layers.GlobalAveragePooling1D(name="mean", dtype="float32")(
            outputs["sequence_output"], mask=encoder.inputs["input_mask"]
        )
    pooled = tf_keras.layers.Dropout(dropout, name="head_dropout")(pooled)
    logits = tf_keras.layers.Dense(
        num_classes,
        kernel_initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        dtype="float32",
        name="logits",
    )(pooled)
    model = tf_keras.Model(encoder.inputs, logits, name="classifier")
    set_trainable(model, encoder, method, top_layers)
    if pooling != "pooler":
        # It takes no part in the model, so there is nothing that it could learn.
        encoder.pooler_layer.trainable = False
    return model, encoder
