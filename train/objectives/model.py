"""An adapted encoder and the head of a task."""

from __future__ import annotations

import tf_keras

from keras_adapters.freezing import adapt
from keras_adapters.methods.method import Method
from keras_adapters.model_garden.hosts.table import host_of
from train.fit.step import AccumulatingModel

POOLINGS = ("pooler", "mean")
FEATURES = "features"  # The input of a head without its encoder.


def build_classifier(
    encoder: tf_keras.layers.Layer,
    num_outputs: int,
    method: Method,
    *,
    pooling: str = "pooler",
    dropout: float = 0.1,
) -> AccumulatingModel:
    """Builds a text classifier, or a regression, on a pretrained BERT encoder.

    The head is dropout and one dense layer on one vector per text. Where nothing but the head
    trains, the encoder is a fixed one also in training: it drops nothing.

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
    _adapt(encoder, method)
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

    The head is dropout and one dense layer on the last block's output at each position. Where
    nothing but the head trains, the encoder is a fixed one also in training: it drops nothing.

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
    _adapt(encoder, method)
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


def split_classifier(model: tf_keras.Model) -> tuple[tf_keras.Model, AccumulatingModel]:
    """Cuts what `build_classifier` built in two where its head begins.

    Args:
      model: the classifier; both parts are made of its own layers.

    Returns:
      The first part, from the model's inputs to the one vector per text, `<float>[batch,
      width]`; and the head, from the input `features`, `<float32>[batch, width]`, to what the
      model returns. The layers of the head draw in training what they draw in the model.
    """
    dropout = model.get_layer("head_dropout")
    pooled = dropout.get_input_at(0)
    features = tf_keras.Input(pooled.shape[1:], name=FEATURES, dtype="float32")
    logits = model.get_layer("logits")(dropout(features))
    head = AccumulatingModel({FEATURES: features}, logits, name="head")
    return tf_keras.Model(model.input, pooled, name="features"), head


def _adapt(encoder: tf_keras.layers.Layer, method: Method) -> None:
    """Adapts an encoder; one of which nothing trains is fixed, and so drops nothing either."""
    adapt(encoder, method)
    if method.name == "feature_based":
        # Its blocks take no `training`: they drop when the model around them trains.
        for layer in encoder.submodules:
            if isinstance(layer, tf_keras.layers.Dropout):
                layer.rate = 0.0


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
