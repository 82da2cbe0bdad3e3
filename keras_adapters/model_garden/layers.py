"""What methods insert, as `tf_keras` layers for tf-models-official's models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.bottleneck import Bottleneck
from keras_adapters.methods.bottleneck import AdapterConfig


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class BottleneckAdapter(Bottleneck, tf_keras.layers.Layer):
    """Bottleneck adapter for `tf_keras`: see `keras_adapters.BottleneckAdapter`.

    Arguments, shapes and errors are those of the Keras 3 layer; `**kwargs` go to
    `tf_keras.layers.Layer`.

    Reference:
      Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1.
    """

    keras = tf_keras

    def _build_child(self, layer: Any, input_shape: tuple[int | None, ...]) -> None:
        # Keras 2 opens a name scope when a layer is called, not when it is built.
        with tf.name_scope(layer.name):
            layer.build(input_shape)

    def _zeros(self, shape: tuple[int, ...]) -> tf.Tensor:
        return tf.zeros(shape)

    def _cast(self, tensor: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.cast(tensor, dtype)

    def _mean(self, tensor: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
        return tf.reduce_mean(tensor, axis=axes, keepdims=True) if axes else tensor


# The layer of each kind of insertion.
_LAYERS: Mapping[type, type] = {AdapterConfig: BottleneckAdapter}


def make_layer(config: AdapterConfig, **kwargs: Any) -> tf_keras.layers.Layer:
    """Returns a new layer of what a method inserts.

    Args:
      config: its settings, of one of the classes `methods.method.INSERTIONS`, with one size.
      **kwargs: arguments of `tf_keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
      ValueError: the settings are not a layer's.
    """
    return _LAYERS[type(config)](**config.layer_arguments(), **kwargs)


def is_inserted(layer: object) -> bool:
    """Says whether a layer is of a kind that methods insert."""
    return isinstance(layer, tuple(_LAYERS.values()))
