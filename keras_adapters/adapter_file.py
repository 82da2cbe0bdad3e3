"""An adapter alone on disk: a folder with what was trained, and nothing of the base.

`adapter.safetensors` holds the trained variables by the names of `encoder_variables`,
the head's under `head/`. `adapter.json` holds the adapters' configuration, the
fingerprint of the variables that stayed frozen, and the caller's metadata.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import safetensors.numpy
import tensorflow as tf
import tf_keras

from keras_adapters.atomic import atomic_folder
from keras_adapters.fingerprint import fingerprint
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.model_garden.adapted import insertion_of
from keras_adapters.model_garden.splice import add_adapters, take_out_adapters, trace_anew
from keras_adapters.model_garden.variables import assign_all, check_inside, encoder_variables

FORMAT = "keras_adapters"
VERSION = 1
_TENSORS = "adapter.safetensors"
_DESCRIPTION = "adapter.json"
_HEAD = "head/"


class AdapterFileError(ValueError):
    """An adapter file is damaged, or does not fit what it is loaded into."""


def save_adapter(
    folder: str | os.PathLike,
    model: tf_keras.Model,
    encoder: tf_keras.layers.Layer,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes what a model's training changes: adapters, LayerNorms, head.

    Args:
      folder: where; a folder that stands there is replaced, whole.
      model: a built model whose encoder a method was applied to, see `freezing`.
      encoder: the encoder in it, adapted or not.
      metadata: further entries for `adapter.json`, such as the labels.

    Raises:
      ValueError: the encoder is not in the model, the model trains nothing, or two of its
        head's variables share a name.
    """
    check_inside(model, encoder)
    trained = {id(variable) for variable in model.trainable_variables}
    inside = encoder_variables(encoder)
    named = {**inside, **_head_variables(model, inside)}
    kept = {name: v.numpy() for name, v in named.items() if id(v) in trained}
    if not kept:
        raise ValueError("the model trains no variable, so there is no adapter to save")
    frozen = {name: v for name, v in inside.items() if id(v) not in trained}
    config = insertion_of(encoder)
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
      AdapterFileError: its description is of another format or version.
    """
    return _read_description(pathlib.Path(folder))["metadata"]


def load_adapter(
    folder: str | os.PathLike,
    model: tf_keras.Model | None,
    encoder: tf_keras.layers.Layer,
) -> dict[str, Any]:
    """Loads a saved adapter into an encoder that holds the same pretrained weights.

    Adapters are added to the encoder if it has none. Nothing is changed unless
    everything fits. What the model has traced is traced anew, so that `predict` and the like
    use the adapters; models that hold this one know nothing of it, and must be told by
    `compile`.

    Args:
      folder: what `save_adapter` wrote.
      model: the model whose head the file's head is loaded into; `None` for the encoder alone.
      encoder: a built encoder with the adapter's base weights.

    Returns:
      The metadata that `save_adapter` was given.

    Raises:
      FileNotFoundError: the folder holds no adapter.
      AdapterFileError: the file is of another format, its adapters or its base are not those
        of the encoder, or names or shapes differ (all of them in one error).
      ValueError: the encoder is not built or not in the model.
    """
    if model is not None:
        check_inside(model, encoder)
    folder = pathlib.Path(folder)
    description = _read_description(folder)
    tensors = safetensors.numpy.load_file(folder / _TENSORS)
    if model is None:
        tensors = {name: v for name, v in tensors.items() if not name.startswith(_HEAD)}
    base = encoder_variables(encoder, adapters=False)
    frozen = {name: v for name, v in base.items() if name not in tensors}
    expected = description["base_fingerprint"]
    if expected is not None and fingerprint(frozen) != expected:
        raise AdapterFileError(
            f"{folder} was trained on other pretrained weights than this encoder holds. "
            "Load the encoder it was trained on; its metadata says: "
            f"{json.dumps(description['metadata'])}"
        )
    added = _match_adapters(folder, encoder, description["adapter_config"])
    try:
        inside = encoder_variables(encoder)
        targets = {name: v for name, v in inside.items() if name not in frozen}
        if model is not None:
            targets |= _head_variables(model, inside)
        assign_all(targets, tensors, str(folder / _TENSORS))
    except ValueError as error:
        if added:
            take_out_adapters(encoder)
        raise AdapterFileError(str(error)) from error
    trace_anew(encoder if model is None else model)
    return description["metadata"]


def remove_adapter(
    encoder: tf_keras.layers.Layer, model: tf_keras.Model | None = None
) -> tf_keras.layers.Layer:
    """Takes the adapters out of an encoder again, in place: it is the base that it was.

    Inserted layers are out, each block has its own dropouts and projections again, the
    LayerNorms have the values that they had when the encoder was adapted, it is of its own
    class, and what was frozen before is frozen. What else training has changed stays.

    Args:
      encoder: an encoder that was adapted here, by `adapt`, `add_adapters` or `load_adapter`.
      model: a model that holds it, so that what this model has traced is traced anew.

    Returns:
      The same encoder.

    Raises:
      ValueError: the encoder was not adapted; its method trains more of the base than
        LayerNorms and inserts nothing; it was reloaded adapted, so that its own LayerNorms
        are not known; or it is not in the model.
    """
    if model is not None:
        check_inside(model, encoder)
    take_out_adapters(encoder)
    if model is not None:
        trace_anew(model)
    return encoder


def _match_adapters(
    folder: pathlib.Path, encoder: tf_keras.layers.Layer, settings: dict[str, Any] | None
) -> bool:
    """Adds the adapters that a file's settings describe, unless they are there; says whether."""
    present = insertion_of(encoder)
    wanted = AdapterConfig(**settings) if settings else None
    if present == wanted:
        return False
    if present is not None:
        raise AdapterFileError(
            f"the encoder's adapters differ from those in {folder}.\n"
            f"  encoder: {present}\n  file:    {wanted}"
        )
    add_adapters(encoder, wanted)
    return True


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
        raise AdapterFileError(
            f"{path} must say format {FORMAT!r}, version {VERSION}. Received: "
            f"format {description.get('format')!r}, version {description.get('version')!r}"
        )
    return description
