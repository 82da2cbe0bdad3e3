"""An adapter alone on disk: a folder with what was trained, and nothing of the base.

`adapter.safetensors` holds the trained variables by the names of `encoder_variables`,
the head's under `head/`. `adapter.json` holds the adapters' configuration, the
fingerprint of the variables that stayed frozen, and the caller's metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
import tensorflow as tf
import tf_keras

from keras_adapters.atomic import atomic_folder
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.model_garden.splice import add_adapters
from keras_adapters.model_garden.variables import encoder_variables

FORMAT = "keras_adapters"
VERSION = 1
_TENSORS = "adapter.safetensors"
_DESCRIPTION = "adapter.json"
_HEAD = "head/"


def fingerprint(variables: Mapping[str, tf.Variable]) -> str:
    """Returns the SHA-256 of variables' names, shapes and float32 values, in hex.

    The order of the mapping does not matter.
    """
    digest = hashlib.sha256()
    for name in sorted(variables):
        value = np.ascontiguousarray(variables[name].numpy(), dtype="<f4")
        digest.update(f"{name}{list(value.shape)}".encode())
        digest.update(value.data)
    return digest.hexdigest()


def save_adapter(
    folder: str | os.PathLike,
    model: tf_keras.Model,
    encoder: tf_keras.layers.Layer,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes what a model's training changes: adapters, LayerNorms, head.

    Args:
      folder: where; a folder that stands there is replaced, whole.
      model: a built model whose `freezing.set_trainable` was called.
      encoder: the encoder in it, adapted or not.
      metadata: further entries for `adapter.json`, such as the labels.

    Raises:
      ValueError: the model trains nothing, or two of its head's variables share a name.
    """
    trained = {id(variable) for variable in model.trainable_variables}
    inside = encoder_variables(encoder)
    named = {**inside, **_head_variables(model, inside)}
    kept = {name: v.numpy() for name, v in named.items() if id(v) in trained}
    if not kept:
        raise ValueError("the model trains no variable, so there is no adapter to save")
    frozen = {name: v for name, v in inside.items() if id(v) not in trained}
    config = getattr(encoder, "adapter_config", None)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "adapter_config": json.loads(config.to_json()) if config else None,
        "base_fingerprint": fingerprint(frozen) if frozen else None,
        "metadata": dict(metadata or {}),
    }
    with atomic_folder(folder) as scratch:
        # Written as bytes: safetensors' own writer makes a file that only its owner may read.
        (scratch / _TENSORS).write_bytes(safetensors.numpy.save(kept))
        (scratch / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def read_metadata(folder: str | os.PathLike) -> dict[str, Any]:
    """Returns the metadata that `save_adapter` was given.

    Raises:
      FileNotFoundError: the folder holds no adapter.
      ValueError: its description is of another format or version.
    """
    return _read_description(pathlib.Path(folder))["metadata"]


def load_adapter(
    folder: str | os.PathLike,
    encoder: tf_keras.layers.Layer,
    model: tf_keras.Model | None = None,
) -> dict[str, Any]:
    """Loads a saved adapter into an encoder that holds the same pretrained weights.

    Adapters are added to the encoder if it has none. Nothing is changed unless
    everything fits.

    Args:
      folder: what `save_adapter` wrote.
      encoder: a built encoder with the adapter's base weights.
      model: the model whose head the file's head is loaded into; without it only the
        encoder is loaded.

    Returns:
      The metadata that `save_adapter` was given.

    Raises:
      FileNotFoundError: the folder holds no adapter.
      ValueError: the file is of another format, its adapters or its base are not those
        of the encoder, or names or shapes differ (all of them in one error).
    """
    folder = pathlib.Path(folder)
    description = _read_description(folder)
    tensors = safetensors.numpy.load_file(folder / _TENSORS)
    if model is None:
        tensors = {name: v for name, v in tensors.items() if not name.startswith(_HEAD)}
    base = encoder_variables(encoder, adapters=False)
    frozen = {name: v for name, v in base.items() if name not in tensors}
    expected = description["base_fingerprint"]
    if expected is not None and fingerprint(frozen) != expected:
        raise ValueError(
            f"{folder} was trained on other pretrained weights than this encoder holds. "
            "Load the encoder it was trained on; its metadata says: "
            f"{json.dumps(description['metadata'])}"
        )
    _match_adapters(folder, encoder, description["adapter_config"])
    inside = encoder_variables(encoder)
    targets = {name: v for name, v in inside.items() if name not in frozen}
    if model is not None:
        targets |= _head_variables(model, inside)
    assign_all(targets, tensors, str(folder / _TENSORS))
    return description["metadata"]


def assign_all(
    variables: Mapping[str, tf.Variable], values: Mapping[str, np.ndarray], source: str
) -> None:
    """Assigns values to the variables of the same names, all or none.

    Args:
      variables: what to set.
      values: arrays of the variables' shapes, in any float dtype.
      source: the file that the values are from, for the error.

    Raises:
      ValueError: names are missing, names are extra or shapes differ; all in one error.
    """
    problems = [f"missing: {name}" for name in sorted(set(variables) - set(values))]
    problems += [f"extra: {name}" for name in sorted(set(values) - set(variables))]
    problems += [
        f"shape of {name}: {list(values[name].shape)}, not {variables[name].shape.as_list()}"
        for name in sorted(set(variables) & set(values))
        if list(values[name].shape) != variables[name].shape.as_list()
    ]
    if problems:
        raise ValueError(f"{source} does not fit the model:\n  " + "\n  ".join(problems))
    for name, variable in variables.items():
        variable.assign(values[name].astype(np.float32))


def _match_adapters(
    folder: pathlib.Path, encoder: tf_keras.layers.Layer, settings: dict[str, Any] | None
) -> None:
    present = getattr(encoder, "adapter_config", None)
    wanted = AdapterConfig(**settings) if settings else None
    if present == wanted:
        return
    if present is not None:
        raise ValueError(
            f"the encoder's adapters differ from those in {folder}.\n"
            f"  encoder: {present}\n  file:    {wanted}"
        )
    add_adapters(encoder, wanted)


def _head_variables(
    model: tf_keras.Model, inside: Mapping[str, tf.Variable]
) -> dict[str, tf.Variable]:
    """Names the variables of `model` that are not the encoder's."""
    known = {id(variable) for variable in inside.values()}
    head: dict[str, tf.Variable] = {}
    for variable in model.variables:
        if id(variable) in known:
            continue
        name = _HEAD + variable.name.removesuffix(":0")
        if name in head:
            raise ValueError(
                f"two variables of the model's head are named {variable.name}; "
                "give its layers distinct names"
            )
        head[name] = variable
    return head


def _read_description(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / _DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: {folder} is not an adapter saved by keras_adapters"
        )
    description = json.loads(path.read_text(encoding="utf-8"))
    if description.get("format") != FORMAT or description.get("version") != VERSION:
        raise ValueError(
            f"{path} must say format {FORMAT!r}, version {VERSION}. Received: "
            f"format {description.get('format')!r}, version {description.get('version')!r}"
        )
    return description
