"""Encoder, adapters and head: spliced, then frozen."""

from __future__ import annotations

import tf_keras

from keras_adapters.config import AdapterConfig
from keras_adapters.freezing import set_trainable
from keras_adapters.model_garden import add_adapters
from train.train_step import AccumulatingModel


def build_classifier(
    encoder: tf_keras.layers.Layer,
    num_outputs: int,
    *,
    method: str = "adapters",
    adapter: AdapterConfig | None = None,
    top_layers: int | None = None,
    pooling: str = "pooler",
    dropout: float = 0.1,
) -> AccumulatingModel:
    """Builds a text classifier, or a regression, on a pretrained BERT encoder.

    The head is dropout and one dense layer on one vector per text.

    Args:
      encoder: the encoder with its pretrained weights; adapters are added to it in place.
      num_outputs: number of classes, or 1 for a regression.
      method: a transfer method, see `keras_adapters.freezing`.
      adapter: adapters to add to the encoder, or `None`.
      top_layers: number of blocks to train with the method `top_layers`.
      pooling: that vector: `pooler`, BERT's pooled output as in the paper, or `mean`, the
        mean of the last block's output over the tokens that are not padding; that needs
        an encoder whose last block computes all positions.
      dropout: probability of dropping a feature of that vector in training.

    Returns:
      The model, from `input_word_ids`, `input_mask` and `input_type_ids`, each
      `<int32>[batch, seq]`, to logits or values `<float32>[batch, num_outputs]`.

    Raises:
      ValueError: as `add_adapters` and `set_trainable` do.
    """
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
        num_outputs,
        kernel_initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        dtype="float32",
        name="logits",
    )(pooled)
    model = AccumulatingModel(encoder.inputs, logits, name="classifier")
    set_trainable(model, encoder, method, top_layers)
    if pooling != "pooler":
        # It takes no part in the model, so there is nothing that it could learn.
        encoder.pooler_layer.trainable = False
    return model
