"""One name for each variable of an encoder, whatever model or scope it was built in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from keras_adapters.host import Part, Site, inserted_at
from keras_adapters.model_garden.hosts.table import host_of


def encoder_variables(
    encoder: tf_keras.layers.Layer, *, adapters: bool = True
) -> dict[str, tf.Variable]:
    """Names the variables of an encoder, adapted or not.

    Args:
      encoder: a built encoder of one of the classes `hosts.table.HOSTS`.
      adapters: whether to list the inserted layers' variables beside the encoder's own.

    Returns:
      Variables by name, such as `embeddings/word`, `layer_0/attention/query/kernel`,
      `layer_0/attention/adapter/down/kernel`, `layer_0/output/layer_norm/gamma`,
      `pooler/bias`. float32; kernels are [in, out], those of query, key and value
      [hidden, heads, head size] and that of the attention output [heads, head size, hidden].
      A block that several layers share is named after the lowest of them.

    Raises:
      ValueError: the encoder is of another class or is not built, or two of its variables
        would have one name.
    """
    return name_variables(encoder_parts(encoder, adapters=adapters))


def name_variables(parts: Iterable[Part]) -> dict[str, tf.Variable]:
    """Names the variables of an encoder's parts; raises ValueError where two have one name."""
    named: dict[str, tf.Variable] = {}
    for prefix, layer in parts:
        for variable in own_variables(layer):
            leaf = variable.name.split("/")[-1].removesuffix(":0")
            name = prefix if leaf == "embeddings" else f"{prefix}/{leaf}"
            if name in named:
                raise ValueError(
                    f"two variables of the {type(layer).__name__} {layer.name!r} would both be "
                    f"named {name!r}: {named[name].name} and {variable.name}. A layer inside an "
                    "encoder must give its variables distinct names"
                )
            named[name] = variable
    return named


def encoder_parts(encoder: tf_keras.layers.Layer, *, adapters: bool = True) -> Iterator[Part]:
    """Yields the layers that hold an encoder's variables, each by the prefix of their names.

    Args:
      encoder: a built encoder of one of the classes `hosts.table.HOSTS`.
      adapters: whether to list the inserted layers beside the encoder's own.

    Raises:
      ValueError: the encoder is of another class, or is not built.
    """
    host = host_of(encoder)
    host.check_built(encoder)
    yield from host.embedding_parts(encoder)
    named: set[int] = set()
    for index, block in enumerate(host.blocks(encoder)):
        if id(block) in named:
            continue
        named.add(id(block))
        for part, layer in host.block_parts(block):
            yield f"layer_{index}/{part}", layer
        for site in host.sites(block) if adapters else ():
            yield from inserted_parts(index, site, inserted_at(site))
    pooler = host.pooler(encoder)
    if pooler is not None:
        yield "pooler", pooler


def inserted_parts(index: int, site: Site, layer: tf_keras.layers.Layer | None) -> Iterator[Part]:
    """Yields the parts of a layer that is, or will be, at a site of the block of a layer."""
    prefix = f"layer_{index}/{site.name}/adapter"
    for owner in owners([layer]):
        yield prefix if owner is layer else f"{prefix}/{owner.name}", owner


def own_variables(layer: tf_keras.layers.Layer) -> list[tf.Variable]:
    """Returns the variables that a layer holds itself, not in a layer inside it."""
    inner = {
        id(variable)
        for child in layer.submodules
        if isinstance(child, tf_keras.layers.Layer)
        for variable in child.weights
    }
    return [variable for variable in layer.weights if id(variable) not in inner]


def owners(layers: Iterable[tf_keras.layers.Layer | None]) -> list[tf_keras.layers.Layer]:
    """Returns the layers in these, themselves included, that hold variables themselves.

    Each is there once, in the order of the layers; `None` holds none.
    """
    found: dict[int, tf_keras.layers.Layer] = {}
    for layer in layers:
        for owner in (layer, *layer.submodules) if layer is not None else ():
            if isinstance(owner, tf_keras.layers.Layer) and own_variables(owner):
                found[id(owner)] = owner
    return list(found.values())


def check_inside(model: tf_keras.layers.Layer, encoder: tf_keras.layers.Layer) -> None:
    """Raises a ValueError unless an encoder is built and a model has its blocks' variables."""
    if not isinstance(model, tf_keras.layers.Layer):
        raise ValueError(f"`model` must be a model of tf_keras. Received: {type(model)}")
    held = {id(variable) for variable in model.variables}
    inside = [layer for prefix, layer in encoder_parts(encoder) if prefix.startswith("layer_")]
    if not all(id(variable) in held for layer in inside for variable in layer.variables):
        raise ValueError(
            f"`encoder` must be in `model`. Received: encoder {encoder.name!r}, which is not in "
            f"{model.name!r}"
        )


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
