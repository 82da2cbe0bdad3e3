"""Stable names for the variables of a model that are not its encoder's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_adapters.adapter_file import HEAD
from keras_adapters.bindings import binding_of
from keras_adapters.host import inner_layers

# What Keras puts before the names of layers in a `Bidirectional`, and of classes with a `_`.
_PREFIX = re.compile("^(forward|backward|private)_")
_NUMBERED = re.compile(r"(.*?)(?:_(\d+))?")


def head_variables(model: Any, inside: Mapping[str, Any], stable: bool) -> dict[str, Any]:
    """Names the variables of `model` that are neither the encoder's nor a metric's.

    Args:
      model: the model.
      inside: the encoder's.
      stable: count layers that Keras has named anew, from none, so that their names do not
        depend on what else the process has made.
    """
    binding = binding_of(model, "model")
    known = {id(variable) for variable in inside.values()}
    others = [variable for variable in binding.state_of(model) if id(variable) not in known]
    paths = {id(v): binding.path_of(model, v).split("/") for v in others}
    renamed = _counted_anew(model, paths.values()) if stable else {}
    head: dict[str, Any] = {}
    for variable in others:
        name = HEAD + "/".join(renamed.get(part, part) for part in paths[id(variable)])
        if name in head:
            raise ValueError(
                f"two variables of the model's head are named {name.removeprefix(HEAD)}; "
                "give its layers distinct names"
            )
        head[name] = variable
    return head


def _counted_anew(model: Any, paths: Iterable[Sequence[str]]) -> dict[str, str]:
    """Returns new names for layers whose names Keras has made of their classes and a number."""
    layers = [model, *inner_layers(model)]
    automatic = {
        layer.name
        for layer in layers
        if _PREFIX.sub("", _stem(layer.name)).replace("_", "")
        == type(layer).__name__.replace("_", "").lower()
    }
    used = {part for path in paths for part in path} & automatic
    counts: dict[str, int] = {}
    renamed = {}
    for name in sorted(used, key=lambda name: int(_NUMBERED.fullmatch(name)[2] or 0)):
        stem = _stem(name)
        count = counts[stem] = counts.get(stem, -1) + 1
        renamed[name] = f"{stem}_{count}" if count else stem
    return renamed


def _stem(name: str) -> str:
    return _NUMBERED.fullmatch(name)[1]
