"""Where a layer is in a model, by a path that is the same whenever the same code builds it.

Keras names a layer after its class and how many the process has made, unless it is told a name.
So such names, those of the model itself and of what is around it have no part in a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_adapters.head import counted_anew, is_automatic


def layer_paths(model: keras.Model) -> list[tuple[str, keras.layers.Layer]]:
    """Returns each layer below a model with its path, what holds others before these.

    A path is made of the layers that hold one another, divided by `/`, as
    `"transformer_block_1/mlp/dense_1"`. Each is called by its own name. One that was given none, or
    the name of a layer beside it, is called by where the layer around it keeps it, such as
    `"dense_1"` or `"blocks/0"`; or, in a functional or sequential model, which keeps its layers by
    no attributes, by the name of its class, counted anew: `"dense"`, then `"dense_1"`. A name that
    Keras could have made, of the class and a number, counts as none.

    A layer that several hold has the first path alone. Two layers may have one path, where
    nothing tells them apart.

    Args:
      model: a model, or any layer.
    """
    found: dict[int, tuple[str, keras.layers.Layer]] = {}
    _collect(model, "", found)
    return list(found.values())


def _collect(
    holder: keras.layers.Layer, prefix: str, found: dict[int, tuple[str, keras.layers.Layer]]
) -> None:
    for name, layer in _named_children(holder):
        if id(layer) not in found:
            found[id(layer)] = (f"{prefix}{name}", layer)
            _collect(layer, f"{prefix}{name}/", found)


def _named_children(holder: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers that one holds itself, by their names below it."""
    children = list({id(layer): layer for layer in holder._layers}.values())
    kept = _attributes(holder)
    given = [layer.name for layer in children if not is_automatic(layer)]
    renamed = counted_anew(layer.name for layer in children if is_automatic(layer))
    for layer in children:
        if given.count(layer.name) == 1 and not is_automatic(layer):
            yield layer.name, layer
        else:
            yield kept.get(id(layer), renamed.get(layer.name, layer.name)), layer


def _attributes(holder: keras.layers.Layer) -> Mapping[int, str]:
    """Returns where a layer keeps others, by their ids; nothing for a model that is a graph."""
    if hasattr(holder, "_functional") or hasattr(holder, "_operations"):
        return {}
    # The lists that Keras itself keeps are there in any layer; PyTorch has a dictionary too.
    usual = vars(keras.layers.Layer())
    own = {name: value for name, value in vars(holder).items() if name not in usual}
    own |= vars(holder).get("_modules", {})
    found: dict[int, str] = {}
    for name, value in own.items():
        for path, layer in _layers_in(value, name):
            found.setdefault(id(layer), path)
    return found


def _layers_in(value: Any, path: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    if isinstance(value, keras.layers.Layer):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _layers_in(item, f"{path}/{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from _layers_in(item, f"{path}/{index}")
