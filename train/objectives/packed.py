"""A text classifier that reads rows of several texts each, made of another's own layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.model_garden.hosts.table import host_of
from train.fit.step import AccumulatingModel

_ROWS = ("input_word_ids", "input_type_ids", "text_numbers", "position_ids")


def pack_classifier(
    model: tf_keras.Model, encoder: tf_keras.layers.Layer, texts_per_row: int
) -> AccumulatingModel:
    """Makes the model that computes of packed texts what a classifier computes of each alone.

    Args:
      model: what `build_classifier` built, with a head on the first token or on the mean.
      encoder: the encoder in it, of a host that `packs`.
      texts_per_row: the most texts in a row.

    Returns:
      A model of the same variables, from the inputs that `Source.gather_packed` tells to the
      outputs, `<float32>[texts, outputs]`. Its layers draw in training what they draw in `model`.
    """
    inputs = {name: tf_keras.Input([None], name=name, dtype="int32") for name in _ROWS}
    inputs["first_positions"] = tf_keras.Input([], name="first_positions", dtype="int32")
    is_mean = any(layer.name == "mean" for layer in model.layers)
    if is_mean:
        states = PackedEncoder(encoder, name="packed_encoder")(inputs)
        pooled = MeanOfTexts(name="packed_mean", dtype="float32")([states, inputs])
    else:
        states = PackedEncoder(encoder, texts_per_row, name="packed_encoder")(inputs)
        firsts = FirstOfTexts(name="packed_first")([states, inputs])
        pooled = host_of(encoder).pooler(encoder)(firsts)
    dropped = model.get_layer("head_dropout")(pooled)
    return AccumulatingModel(inputs, model.get_layer("logits")(dropped), name="packed_classifier")


class PackedEncoder(tf_keras.layers.Layer):
    """An encoder's last states for rows of several texts each: see `Host.packed_states`.

    Args:
      encoder: the encoder.
      output_range: how many positions of each row are wanted; `None` is all.

    Call arguments:
      inputs: as `Source.gather_packed` returns them.

    Returns:
      `<float>[rows, output_range or length, hidden]`.
    """

    def __init__(
        self, encoder: tf_keras.layers.Layer, output_range: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.output_range = output_range

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Computes the states with the encoder's own layers."""
        return host_of(self.encoder).packed_states(self.encoder, inputs, self.output_range)


class FirstOfTexts(tf_keras.layers.Layer):
    """The state of each text's first token.

    Call arguments:
      inputs: `<float>[rows, some, hidden]`, the states of the first positions of each row, and
        the inputs of the model, of which `first_positions` is read.

    Returns:
      `<float>[texts, hidden]`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: tuple[tf.Tensor, Mapping[str, tf.Tensor]]) -> tf.Tensor:
        """Gathers the states."""
        states, given = inputs
        first, length = given["first_positions"], tf.shape(given["position_ids"])[1]
        flat = tf.reshape(states, [-1, states.shape[-1]])
        return tf.gather(flat, first // length * tf.shape(states)[1] + first % length)


class MeanOfTexts(tf_keras.layers.Layer):
    """The mean of each text's states.

    Call arguments:
      inputs: `<float32>[rows, length, hidden]`, all states, and the inputs of the model, of which
        `text_numbers` are read, and of `first_positions` how many there are.

    Returns:
      `<float32>[texts, hidden]`.
    """

    def call(self, inputs: tuple[tf.Tensor, Mapping[str, tf.Tensor]]) -> tf.Tensor:
        """Averages with one product, which every device has and adds in one order."""
        states, given = inputs
        numbers = tf.reshape(given["text_numbers"], [1, -1])
        texts = tf.range(1, tf.size(given["first_positions"]) + 1)[:, tf.newaxis]
        is_of = tf.cast(numbers == texts, states.dtype)
        sums = is_of @ tf.reshape(states, [-1, states.shape[-1]])
        return sums / tf.reduce_sum(is_of, axis=1, keepdims=True)
