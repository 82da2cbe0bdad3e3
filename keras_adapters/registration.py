"""Lets each Keras read files that hold this package's classes, before these are imported.

Keras looks a class up in its registry only. So what it finds there, as soon as that Keras
is imported, is a stand-in that imports the class when a file holds one. Which module
binds the package to each Keras stands here too.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

from keras_adapters.bindings import bind

PACKAGE = "keras_adapters"
_ADAPTED = (
    "AdaptedBertEncoderV2",
    "AdaptedBertEncoder",
    "AdaptedAlbertEncoder",
    "AdaptedMobileBERTEncoder",
    "AdaptedFunnelTransformerEncoder",
    "AdaptedFNet",
)
# What is imported with another package: KerasHub asks a class that a preset names what it is.
_WITH: Mapping[str, str] = {"keras_hub": "keras_adapters.keras_hub.exact_bert"}
# The module of each class, by the Keras that it is bound to.
HOMES: Mapping[str, Mapping[str, str]] = {
    "keras": {
        "BottleneckAdapter": "keras_adapters.keras3",
        "AdaptedModel": "keras_adapters.keras_hub.adapted",
        "ExactBertBackbone": _WITH["keras_hub"],
    },
    "tf_keras": {
        "BottleneckAdapter": "keras_adapters.model_garden.layers",
        **dict.fromkeys(_ADAPTED, "keras_adapters.model_garden.adapted"),
    },
}


# What binds the package to each.
_BINDINGS: Mapping[str, str] = {
    "keras": "keras_adapters.keras_hub.binding",
    "tf_keras": "keras_adapters.model_garden.binding",
}


def register() -> None:
    """Registers the stand-ins, now or when the Keras that they are for is imported."""
    for name, home in _BINDINGS.items():
        bind(name, home)
    watched = {*HOMES, *_WITH}
    waiting = {name for name in watched if name not in sys.modules}
    for name in watched - waiting:
        _meet(name, sys.modules[name])
    if waiting:
        sys.meta_path.insert(0, _Watcher(waiting))


class _Watcher(importlib.abc.MetaPathFinder):
    """Finds nothing itself, but sees when a package is imported."""

    def __init__(self, waiting: set[str]) -> None:
        self.waiting = waiting

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns the spec that others find for a Keras, with a loader that registers too."""
        if fullname not in self.waiting:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_fill(module: types.ModuleType) -> None:
            run(module)
            self.waiting.discard(fullname)
            _meet(fullname, module)

        spec.loader.exec_module = run_and_fill
        return spec


def _meet(name: str, module: types.ModuleType | None) -> None:
    """Does what is to be done when a package is imported; None stands for one that cannot be."""
    if name in _WITH and module is not None:
        importlib.import_module(_WITH[name])
    else:
        _fill(module)


def _fill(keras: types.ModuleType | None) -> None:
    if not hasattr(keras, "saving"):  # It is just being imported: nothing can be read with it.
        return
    registry = keras.saving.get_custom_objects()
    for name, home in HOMES[keras.__name__].items():
        registry.setdefault(f"{PACKAGE}>{name}", _stand_in(name, home))


def _stand_in(name: str, home: str) -> type:
    def from_config(cls: type, config: Mapping[str, Any]) -> Any:
        return getattr(importlib.import_module(home), name).from_config(config)

    text = f"Makes a `{home}.{name}`."
    return type(name, (), {"from_config": classmethod(from_config), "__doc__": text})
