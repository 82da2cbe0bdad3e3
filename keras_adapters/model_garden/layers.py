"""The bottleneck adapter as a `tf_keras` layer, for tf-models-official's models."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.bottleneck import Bottleneck


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
