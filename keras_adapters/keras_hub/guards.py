"""What keeps adapters from being lost, or read by a layer without them, when Keras writes files.

A model may take the layers of an adapted one without the model itself, as
`keras.Model(backbone.inputs, backbone.outputs)` does. Then nothing but those layers can tell of
what is in them: a block with adapters has no config of its own, and a file of weights has marks
in the parts of its layers, which a layer without adapters refuses as weights that it lacks.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_adapters.host import inner_layers
from keras_adapters.variables import owners

_MARK = "keras_adapters"
_GUARDED = ("get_config", "save_own_variables", "load_own_variables")


class _Told(threading.local):
    """Whether what is written just now tells of the adapters by itself."""

    by_model = False


_TOLD = _Told()


@contextlib.contextmanager
def told_by_model() -> Iterator[None]:
    """Lets blocks be described as if they held no adapters, of which the model tells."""
    before, _TOLD.by_model = _TOLD.by_model, True
    try:
        yield
    finally:
        _TOLD.by_model = before


def guard(block: keras.layers.Layer, holders: Iterable[keras.layers.Layer]) -> None:
    """Guards a block that holds inserted layers.

    Args:
      block: the block.
      holders: its layers whose `adapter` they are.
    """
    holders = list(holders)
    kind = type(block)

    def get_config() -> dict[str, Any]:
        if _TOLD.by_model:
            return kind.get_config(block)
        raise ValueError(
            f"{block.path!r} holds adapters of which its own config cannot tell, so a model of "
            "such layers cannot be saved or cloned. Build the model on the adapted one itself: "
            "`backbone(inputs)`, not `backbone.output`; or keep the adapter with "
            "`keras_adapters.save_adapter`"
        )

    object.__setattr__(block, "get_config", get_config)
    for holder in holders:
        _guard_inserted(holder.adapter, _mark(holder, _settings(holder.adapter)))
    # Keras forgives a layer that fails where it finds it a second time, without weights to lack.
    inserted = {id(layer) for holder in holders for layer in owners([holder])}
    others = [layer for layer in owners([block]) if id(layer) not in inserted]
    if others:
        _mark(others[0], "")


def _settings(layer: keras.layers.Layer) -> str:
    kept = layer.get_config().items()
    return str({name: v for name, v in kept if name not in ("name", "trainable", "dtype")})


def _mark(layer: keras.layers.Layer, about: str) -> Callable[[], bool]:
    """Makes a layer mark its part of a file; returns a function that says if the last had one.

    Args:
      layer: the layer.
      about: the mark; a file with another is refused.
    """
    kind = type(layer)
    found: str | None = None

    def save_own_variables(store: Any) -> None:
        kind.save_own_variables(layer, store)
        store[_MARK] = np.frombuffer(f" {about}".encode(), "uint8")

    def load_own_variables(store: Any) -> None:
        nonlocal found
        values = {name: store[name] for name in list(store.keys())}
        mark = values.pop(_MARK, None)
        found = None if mark is None else bytes(np.asarray(mark, "uint8")).decode()[1:]
        if found not in (None, about):
            raise ValueError(
                f"the file of weights has another adapter at {layer.name!r} than the model.\n"
                f"  model: {about}\n  file:  {found}"
            )
        kind.load_own_variables(layer, values)

    object.__setattr__(layer, "save_own_variables", save_own_variables)
    object.__setattr__(layer, "load_own_variables", load_own_variables)
    return lambda: found is not None


def _guard_inserted(inserted: keras.layers.Layer, marked: Callable[[], bool]) -> None:
    """Lets inserted layers keep their values where a plain model's file is read or quantised."""

    def guarded(layer: keras.layers.Layer) -> None:
        def load_own_variables(store: Any) -> None:
            if marked() or store.keys():
                type(layer).load_own_variables(layer, store)

        object.__setattr__(layer, "load_own_variables", load_own_variables)
        object.__setattr__(layer, "quantize", _stay_float)

    for layer in (inserted, *inner_layers(inserted)):
        guarded(layer)


def _stay_float(*args: Any, **kwargs: Any) -> None:
    """Raises what makes `Model.quantize` leave a layer as it is."""
    raise NotImplementedError("adapters stay float")


def unguard(block: keras.layers.Layer) -> None:
    """Makes a block, from which the inserted layers are taken, one that tells all of itself."""
    for layer in (block, *inner_layers(block)):
        for name in _GUARDED:
            vars(layer).pop(name, None)
