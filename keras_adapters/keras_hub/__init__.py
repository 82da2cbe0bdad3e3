"""Adapters inside Keras 3 models: KerasHub's backbones, and any other at layers that are named."""

from keras_adapters.freezing import adapt, set_trainable
from keras_adapters.keras3 import BottleneckAdapter
from keras_adapters.splice import add_adapters

__all__ = ["BottleneckAdapter", "adapt", "add_adapters", "set_trainable"]
