"""Adapters inside tf-models-official's encoders, which are built on `tf_keras`."""

from keras_adapters.freezing import adapt, set_trainable
from keras_adapters.model_garden.layers import BottleneckAdapter
from keras_adapters.splice import add_adapters

__all__ = ["BottleneckAdapter", "adapt", "add_adapters", "set_trainable"]
