"""What a Keras 3 model computes but for its variables, as its configs tell it."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from keras_adapters.keras_hub.hosts.paths import layer_paths

# Entries of configs that change nothing of what a model computes from its variables: names, initial
# values, what only training uses, precision, and the shapes that it was built for.
_NEUTRAL = re.compile(
    "^(name|trainable|dtype|dtype_policy|seed|batch_shape|batch_input_shape)$"
    "|^(build|compile)_config$|initializer|regularizer|constraint|dropout"
)


def digest_of(model: keras.Model) -> str:
    """Returns a SHA-256, in hex, of the classes and configs of a model and of all its layers.

    It is the same for a model that the same code builds again, and for one that is reloaded. A
    layer without a config counts by its class, and so does a lambda.
    """
    layers = [("", model), *layer_paths(model)]
    told = [[path, _class_name(layer), _config(layer)] for path, layer in layers]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=repr).encode()).hexdigest()


def _class_name(layer: keras.layers.Layer) -> str:
    return keras.saving.get_registered_name(type(layer))


def _config(layer: keras.layers.Layer) -> Any:
    try:
        config = layer.get_config()
    # Of a layer whose constructor takes what Keras cannot write.
    except NotImplementedError:
        return None
    if "Dropout" in type(layer).__name__:
        config.pop("rate", None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
        return _plain(keras.saving.serialize_keras_object(config), {})


def _plain(value: Any, places: Mapping[str, int]) -> Any:
    """Returns a config without what is neutral.

    Args:
      value: the config, or what is in it.
      places: of the layers of the functional model around, by name, which stand for the names.
    """
    if isinstance(value, Mapping):
        if value.get("class_name") == "__lambda__":
            return "lambda"
        if value.get("class_name") == "__keras_tensor__":
            return _plain(value["config"]["keras_history"], places)
        layers = value.get("layers")
        if isinstance(layers, list) and all(isinstance(layer, Mapping) for layer in layers):
            places = {_name(layer): index for index, layer in enumerate(layers)}
            # What else is told of them stands beside, each by itself.
            value = {**value, "layers": [layer.get("inbound_nodes") for layer in layers]}
        kept = {key: item for key, item in value.items() if not _NEUTRAL.search(str(key))}
        return {str(key): _plain(item, places) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        # A layer's output, by its name and two numbers.
        if len(value) == 3 and [type(item) for item in value] == [str, int, int]:
            return [places.get(value[0], value[0]), *value[1:]]
        return [_plain(item, places) for item in value]
    return value


def _name(layer: Mapping[str, Any]) -> Any:
    return layer.get("name", layer.get("config", {}).get("name"))
