"""An encoder's config in plain values, as all of Keras's ways of saving can read it.

tf-models-official's encoders leave in theirs an enum, an embedding layer, or objects in
the newer of Keras's two forms, each of which `.keras` files or SavedModels fail to reload.
"""

from __future__ import annotations

import enum
import json
from typing import Any

import tensorflow as tf
import tf_keras
from official.nlp.modeling import layers

_EMBEDDINGS = {cls.__name__: cls for cls in (layers.OnDeviceEmbedding, layers.FactorizedEmbedding)}


def to_plain(config: dict[str, Any]) -> dict[str, Any]:
    """Returns an encoder's config with such values made plain; others stay."""
    return {name: _plain(value) for name, value in config.items()}


def from_plain(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments that an encoder takes, from what `to_plain` returned."""
    config = dict(config)
    if isinstance(config.get("embedding_layer"), str):
        layer = json.loads(config["embedding_layer"])
        config["embedding_layer"] = _EMBEDDINGS[layer["class_name"]](**layer["config"])
    if "mixing_mechanism" in config:
        config["mixing_mechanism"] = layers.MixingMechanism(config["mixing_mechanism"])
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tf.DType):
        return value.name
    if isinstance(value, tf_keras.initializers.Initializer):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if type(value) in _EMBEDDINGS.values():
        # As text: Keras would make an object of it while it reads the file, and fail.
        parts = {"class_name": type(value).__name__, "config": to_plain(value.get_config())}
        return json.dumps(parts)
    if isinstance(value, dict) and value.get("class_name") == "function":
        return value["config"]
    if isinstance(value, dict) and "registered_name" in value:
        name = value["registered_name"] or value["class_name"]
        return {"class_name": name, "config": value["config"]}
    return value
