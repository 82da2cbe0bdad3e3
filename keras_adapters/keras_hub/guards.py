"""What keeps adapters from being lost, or read by a layer without them, when Keras writes files.

A model may take the layers of an adapted one without the model itself, as
`keras.Model(backbone.inputs, backbone.outputs)` does. Then nothing but those layers can tell of
what is in them: a block with adapters has no config of its own, and marks its file of weights.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_adapters.host import inner_layers

_MARK = "keras_adapters"  # In a block's part of a file of weights.
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


def guard(block: keras.layers.Layer, inserted: Iterable[keras.layers.Layer], about: str) -> None:
    """Guards a block that holds inserted layers.

    Args:
      block: the block.
      inserted: the layers in it.
      about: their settings; a file of weights with others is refused.
    """
    kind = type(block)
    reads_plain = False

    def get_config() -> dict[str, Any]:
        if _TOLD.by_model:
            return kind.get_config(block)
        raise ValueError(
            f"{block.path!r} holds adapters of which its own config cannot tell, so a model of "
            "such layers cannot be saved or cloned. Build the model on the adapted one itself: "
            "`backbone(inputs)`, not `backbone.output`; or keep the adapter with "
            "`keras_adapters.save_adapter`"
        )

    def save_own_variables(store: Any) -> None:
        kind.save_own_variables(block, store)
        store[_MARK] = np.frombuffer(about.encode(), "uint8")

    def load_own_variables(store: Any) -> None:
        nonlocal reads_plain
        values = {name: store[name] for name in list(store.keys())}
        mark = values.pop(_MARK, None)
        reads_plain = mark is None
        found = None if reads_plain else bytes(np.asarray(mark, "uint8")).decode()
        if found not in (None, about):
            raise ValueError(
                f"the file of weights has other adapters in {block.path!r} than the model.\n"
                f"  model: {about}\n  file:  {found}"
            )
        kind.load_own_variables(block, values)

    for function in (get_config, save_own_variables, load_own_variables):
        object.__setattr__(block, function.__name__, function)
    for layer in inserted:
        for owner in (layer, *inner_layers(layer)):
            _guard_inserted(owner, lambda: reads_plain)


def _guard_inserted(layer: keras.layers.Layer, reads_plain: Any) -> None:
    """Lets an inserted layer keep its values where a plain model's file is read or quantised."""

    def load_own_variables(store: Any) -> None:
        if store.keys() or not reads_plain():
            type(layer).load_own_variables(layer, store)

    def quantize(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("adapters stay float")

    object.__setattr__(layer, "load_own_variables", load_own_variables)
    object.__setattr__(layer, "quantize", quantize)


def unguard(block: keras.layers.Layer) -> None:
    """Makes a block, from which the inserted layers are taken, one that tells all of itself."""
    for name in _GUARDED:
        vars(block).pop(name, None)
