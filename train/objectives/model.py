"""An adapted encoder and the head of a task."""

from __future__ import annotations

import tf_keras

from keras_adapters.methods.method import Method
from keras_adapters.model_garden.freezing import adapt
from keras_adapters.model_garden.hosts.table import host_of
from train.fit.step import AccumulatingModel

POOLINGS = ("pooler", "mean")


def build_classifier(
    encoder: tf_keras.layers.Layer,
    num_outputs: int,
    method: Method,
    *,
    pooling: str = "pooler",
    dropout: float = 0.1,
) -> AccumulatingModel:
    """Builds a text classifier, or a regression, on a pretrained BERT encoder.

    The head is dropout and one dense layer on one vector per text.

    Args:
      encoder: the encoder with its pretrained weights; it is adapted in place.
      num_outputs: number of classes, or 1 for a regression.
      method: what is inserted into the encoder, and what of it trains.
      pooling: that vector: `pooler`, BERT's pooled output as in the paper, or `mean`, the
        mean of the last block's output over the tokens that are not padding; that needs
        an encoder whose last block computes all positions.
      dropout: probability of dropping a feature of that vector in training.

    Returns:
      The model, from `input_word_ids`, `input_mask` and `input_type_ids`, each
      `<int32>[batch, seq]`, to logits or values `<float32>[batch, num_outputs]`.

    Raises:
      ValueError: the pooling is not one of the two, or as `adapt` does.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"`pooling` must be one of {POOLINGS}. Received: pooling={pooling!r}")
    adapt(encoder, method)
    outputs = encoder(encoder.inputs)
    if pooling == "pooler":
        pooled = outputs["pooled_output"]
    else:
        pooled = tf_keras.layers.GlobalAveragePooling1D(name="mean", dtype="float32")(
            outputs["sequence_output"], mask=encoder.inputs["input_mask"]
        )
    pooled = tf_keras.layers.Dropout(dropout, name="head_dropout")(pooled)
    if pooling != "pooler":
        _freeze_pooler(encoder)
    return AccumulatingModel(encoder.inputs, _logits(num_outputs)(pooled), name="classifier")


def build_span_model(
    encoder: tf_keras.layers.Layer, method: Method, *, dropout: float = 0.0
) -> AccumulatingModel:
    """Builds a model that finds where an answer starts and ends.

    The head is dropout and one dense layer on the last block's output at each position.

    Args:
      encoder: the encoder with its pretrained weights, whose last block computes all
        positions; it is adapted in place.
      method: what is inserted into the encoder, and what of it trains.
      dropout: probability of dropping a feature in training; BERT's released code drops none.

    Returns:
      The model, from `input_word_ids`, `input_mask` and `input_type_ids`, each
      `<int32>[batch, seq]`, to `start_logits` and `end_logits`, each
      `<float32>[batch, seq]`, also for positions that are not the context's.

    Raises:
      ValueError: as `adapt` does.

    Reference:
      Devlin et al. 2019, section 4.2.
    """
    adapt(encoder, method)
    states = encoder(encoder.inputs)["sequence_output"]
    states = tf_keras.layers.Dropout(dropout, name="head_dropout")(states)
    logits = _logits(2)(states)
    # Layers of these names, for Keras names metrics by layers.
    outputs = {
        name: tf_keras.layers.Activation("linear", dtype="float32", name=name)(logits[..., index])
        for index, name in enumerate(("start_logits", "end_logits"))
    }
    _freeze_pooler(encoder)
    return AccumulatingModel(encoder.inputs, outputs, name="span_model")


def _logits(outputs: int) -> tf_keras.layers.Layer:
    return tf_keras.layers.Dense(
        outputs,
        kernel_initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        dtype="float32",
        name="logits",
    )


def _freeze_pooler(encoder: tf_keras.layers.Layer) -> None:
    """Freezes the pooler where it takes no part: there is nothing that it could learn."""
    pooler = host_of(encoder).pooler(encoder)
    if pooler is not None:
        pooler.trainable = False
