"""What methods and their variants are called in tables and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from keras_adapters.methods.bottleneck import AdapterConfig

ADAPTERS = "adapters"
_METHODS = {
    "full": "full fine-tuning",
    "top_layers": "top layers",
    "layer_norm": "LayerNorm only",
    "feature_based": "feature-based",
    "no_bert": "no BERT",
}
_PLACES = {"attention": "attention only", "feed_forward": "feed-forward only"}
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(AdapterConfig)}
# How wide adapters are; all other fields make a variant.
WIDTH_FIELDS = ("size", "reduction_factor")


def method_label(
    method: str,
    insertion: Mapping[str, Any] | None = None,
    top_layers: int | None = None,
    trains: str | None = None,
) -> str:
    """Returns what a method is called, such as `adapters 64, parallel` or `top 2 layers`.

    Args:
      method: its name, as of `--method`.
      insertion: settings of what it inserts, as in JSON; fields may be missing.
      top_layers: how many blocks train.
      trains: which part of the pretrained encoder trains.
    """
    if top_layers is not None:
        return f"top {top_layers} layer{'s' if top_layers > 1 else ''}"
    if not insertion:
        return _METHODS.get(method, method.replace("_", " "))
    frozen = ["LayerNorms frozen"] if trains == "nothing" else []
    name = f"{method} {width_label(insertion)}".strip()
    return ", ".join([name, *variant_labels(insertion), *frozen])


def width_label(insertion: Mapping[str, Any]) -> str:
    """Returns how wide adapters are: a size, sizes by layer, or a reduction."""
    size, factor = insertion.get("size"), insertion.get("reduction_factor")
    if isinstance(size, Sequence):
        return "-".join(map(str, size))
    return f"1/{factor:g}" if factor is not None else "" if size is None else str(size)


def variant_labels(insertion: Mapping[str, Any]) -> list[str]:
    """Returns how adapters differ from the default ones, their width apart: words for each."""
    return [_words(name, value) for name, value in variant(insertion).items()]


def variant(insertion: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields, their width apart, in which adapters differ from the default ones."""
    return {
        name: value
        for name, value in complete(insertion).items()
        if name not in ("type", *WIDTH_FIELDS) and value != _as_json(_DEFAULTS.get(name))
    }


def complete(insertion: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings of adapters with the defaults of the fields that are missing in them."""
    if insertion.get("type", "bottleneck") != "bottleneck":
        return dict(insertion)
    widths = {name: insertion.get(name) for name in WIDTH_FIELDS}
    defaults = {name: _as_json(value) for name, value in _DEFAULTS.items()}
    return {**defaults, **widths, **insertion}


def _words(name: str, value: Any) -> str:
    """Says one field's value so that it can be told from the others'."""
    if value is True:
        return name.replace("_", " ")
    if name == "places" and len(value) == 1:
        return _PLACES.get(value[0], f"places {value[0]}")
    if name == "layers":
        return f"layers {_ranges(value or ())}"
    if name in ("form", "activation"):
        return str(value).replace("_", " ")
    words = {"init_stddev": "init", "norm": f"{value} norm", "hidden_layers": "hidden layers"}
    if name == "norm":
        return words[name]
    if isinstance(value, list):
        value = " ".join(map(str, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{words.get(name, name.replace('_', ' '))} {text.replace('_', ' ')}"


def _ranges(numbers: Sequence[int]) -> str:
    """Returns indices with runs of them put together: `0-3 8`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return " ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
