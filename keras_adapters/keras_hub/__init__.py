"""Adapters inside Keras 3 models: KerasHub's backbones, and any other at layers that are named."""

import importlib

from keras_adapters.freezing import adapt, set_trainable
from keras_adapters.keras3 import BottleneckAdapter
from keras_adapters.keras_hub.hosts.paths import layer_paths
from keras_adapters.splice import add_adapters

# What needs KerasHub, which other models of Keras 3 do without.
_HOMES = {
    "load_backbone": "keras_adapters.keras_hub.converters",
    "load_preprocessor": "keras_adapters.keras_hub.converters",
}
__all__ = [
    "BottleneckAdapter",
    "adapt",
    "add_adapters",
    "layer_paths",
    "load_backbone",
    "load_preprocessor",
    "set_trainable",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
