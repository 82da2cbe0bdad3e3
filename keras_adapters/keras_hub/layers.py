"""What methods insert, as Keras 3 layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_adapters.keras3 import BottleneckAdapter
from keras_adapters.methods.bottleneck import AdapterConfig

# The layer of each kind of insertion.
_LAYERS: Mapping[type, type] = {AdapterConfig: BottleneckAdapter}


def make_layer(config: AdapterConfig, **kwargs: Any) -> keras.layers.Layer:
    """Returns a new layer of what a method inserts.

    Args:
      config: its settings, of one of the classes `methods.method.INSERTIONS`, with one size.
      **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
      ValueError: the settings are not a layer's.
    """
    return _LAYERS[type(config)](**config.layer_arguments(), **kwargs)


def is_inserted(layer: object) -> bool:
    """Says whether a layer is of a kind that methods insert."""
    return isinstance(layer, tuple(_LAYERS.values()))
