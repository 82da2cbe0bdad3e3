"""One name for each variable of an encoder, whatever model or scope it was built in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from keras_adapters.bindings import binding_of, host_of
from keras_adapters.host import Part, Site, inner_layers, inserted_at, tracked_layers


def encoder_variables(encoder: Any, *, adapters: bool = True) -> dict[str, Any]:
    """Names the variables of an encoder, adapted or not.

    Args:
      encoder: a built encoder of a class that has a host.
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


def name_variables(parts: Iterable[Part]) -> dict[str, Any]:
    """Names the variables of an encoder's parts; raises ValueError where two have one name."""
    named: dict[str, Any] = {}
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


def encoder_parts(encoder: Any, *, adapters: bool = True) -> Iterator[Part]:
    """Yields the layers that hold an encoder's variables, each by the prefix of their names.

    Args:
      encoder: a built encoder of a class that has a host.
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
    yield from host.top_parts(encoder)


def inserted_parts(index: int, site: Site, layer: Any | None) -> Iterator[Part]:
    """Yields the parts of a layer that is, or will be, at a site of the block of a layer."""
    prefix = f"layer_{index}/{site.name}/adapter"
    for owner in owners([layer]):
        yield prefix if owner is layer else f"{prefix}/{owner.name}", owner


def own_variables(layer: Any) -> list[Any]:
    """Returns the variables that a layer holds itself, not in a layer inside it."""
    weights = layer.weights
    if not weights:  # As most have none, and to look inside of them takes longer.
        return []
    inner = {id(variable) for child in tracked_layers(layer) for variable in child.weights}
    return [variable for variable in weights if id(variable) not in inner]


def owners(layers: Iterable[Any | None]) -> list[Any]:
    """Returns the layers in these, themselves included, that hold variables themselves.

    Each is there once, in the order of the layers; `None` holds none.
    """
    found: dict[int, Any] = {}
    for layer in layers:
        for owner in (layer, *inner_layers(layer)) if layer is not None else ():
            if own_variables(owner):
                found[id(owner)] = owner
    return list(found.values())


def switch(layer: Any, encoder: Any, trains: bool) -> None:
    """Lets a layer inside of an encoder train or not, and those in it, which are to be set after.

    Of the encoder itself, which hides all that trains in it while it is frozen, only the
    variables that it holds itself are switched.
    """
    if layer is not encoder:
        layer.trainable = trains
        return
    for variable in own_variables(encoder):
        variable.trainable = trains


def check_inside(model: Any, encoder: Any) -> None:
    """Raises a ValueError unless an encoder is built and a model has its blocks' variables."""
    if binding_of(model, "model") is not binding_of(encoder):
        raise ValueError(
            "`model` and `encoder` must be of one Keras, tf_keras or Keras 3. Received: "
            f"{type(model)} and {type(encoder)}"
        )
    held = {id(variable) for variable in model.variables}
    # Those below and above the blocks are not in each model on their states.
    kept = ("layer_", "model/")
    inside = [layer for prefix, layer in encoder_parts(encoder) if prefix.startswith(kept)]
    if not all(id(variable) in held for layer in inside for variable in layer.variables):
        raise ValueError(
            f"`encoder` must be in `model`. Received: encoder {encoder.name!r}, which is not in "
            f"{model.name!r}"
        )


def assign_all(variables: Mapping[str, Any], values: Mapping[str, np.ndarray], source: str) -> None:
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
        f"shape of {name}: {list(values[name].shape)}, not {list(variables[name].shape)}"
        for name in sorted(set(variables) & set(values))
        if list(values[name].shape) != list(variables[name].shape)
    ]
    if problems:
        raise ValueError(f"{source} does not fit the model:\n  " + "\n  ".join(problems))
    for name, variable in variables.items():
        variable.assign(values[name].astype(np.float32))


def numpy_dtype(variable: Any) -> np.dtype:
    """Returns the type of a variable's values, of either Keras."""
    dtype = variable.dtype
    return np.dtype(getattr(dtype, "as_numpy_dtype", dtype))


def is_floating(dtype: np.dtype) -> bool:
    """Says whether values of a type are floats, those of machine learning too."""
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16
