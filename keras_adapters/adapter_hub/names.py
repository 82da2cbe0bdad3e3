"""The names of adapters' tensors in AdapterHub's files, and here.

A torch `Linear` keeps [out, in], a Keras kernel [in, out]; a learned scale is [1] there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from keras_adapters.methods.bottleneck import AdapterConfig

Shape = tuple[int, ...]
PREFIX = "bert."
_PLACES = {"attention": "attention.output", "feed_forward": "output"}
_LINEARS = {"down": "adapter_down.0", "up": "adapter_up", "gate": "gate"}
_LEAVES = {"kernel": "weight", "bias": "bias"}
# What stood for `adapters` in files before version 2 of their package.
_BEFORE = (
    "attention_text_task_adapters",
    "attention_text_lang_adapters",
    "layer_text_task_adapters",
    "layer_text_lang_adapters",
)
_AT_MOST = 16


def adapter_shapes(config: AdapterConfig, hidden_size: int, layers: int) -> dict[str, Shape]:
    """Returns the shapes of the variables of adapters, by the names of `encoder_variables`.

    Args:
      config: the adapters' settings.
      hidden_size: the encoder's.
      layers: its number of blocks.
    """
    shapes: dict[str, Shape] = {}
    for index in sorted(config.layers or range(layers)):
        size = config.of_layer(index).width(hidden_size)
        for place in (place for place in _PLACES if place in config.places):
            prefix = f"layer_{index}/{place}/adapter"
            shapes[f"{prefix}/down/kernel"] = (hidden_size, size)
            shapes[f"{prefix}/down/bias"] = (size,)
            shapes[f"{prefix}/up/kernel"] = (size, hidden_size)
            shapes[f"{prefix}/up/bias"] = (hidden_size,)
            if config.gate:
                shapes[f"{prefix}/gate/kernel"] = (hidden_size, 1)
                shapes[f"{prefix}/gate/bias"] = (1,)
            if isinstance(config.scale, str):
                shapes[f"{prefix}/scale"] = () if config.scale == "learned" else (hidden_size,)
    return shapes


def as_theirs(value: np.ndarray) -> np.ndarray:
    """Returns one of our values in the shape that theirs has."""
    return value.reshape(1) if value.ndim == 0 else value.T


def their_name(name: str, adapter: str) -> str:
    """Returns AdapterHub's name, without its `bert.`, of an adapter's variable.

    Args:
      name: one of `adapter_shapes`' names.
      adapter: the adapter's name, which stands in theirs.

    Example:
    >>> their_name("layer_0/attention/adapter/down/kernel", "mrpc")
    'encoder.layer.0.attention.output.adapters.mrpc.adapter_down.0.weight'
    """
    block, place, _, *inside = name.split("/")
    prefix = f"encoder.layer.{block.removeprefix('layer_')}.{_PLACES[place]}.adapters.{adapter}"
    if inside == ["scale"]:
        return f"{prefix}.scaling"
    linear, leaf = inside
    return f"{prefix}.{_LINEARS[linear]}.{_LEAVES[leaf]}"


def present_name(name: str) -> str:
    """Returns a name of any version of theirs as the present one has it, without its `bert.`."""
    for before in _BEFORE:
        name = name.replace(f".{before}.", ".adapters.")
    return name.removeprefix(PREFIX)


def renamed(
    tensors: Mapping[str, np.ndarray], names: Mapping[str, str], shapes: Mapping[str, Shape]
) -> dict[str, np.ndarray]:
    """Returns their tensors by our names, kernels transposed, if just those are there.

    Args:
      tensors: by their names.
      names: ours, by theirs.
      shapes: what they must be, by our names.

    Raises:
      ValueError: names are missing or extra or shapes differ; all in one error.
    """
    found = {}
    for name, value in tensors.items():
        ours = names.get(name, name)
        # A scalar of ours is one number in a list of theirs.
        scalar = shapes.get(ours) == () and value.shape == (1,)
        found[ours] = value[0] if scalar else value.T if ours.endswith("/kernel") else value
    theirs = {ours: name for name, ours in names.items()}
    missing, extra = shapes.keys() - found.keys(), found.keys() - shapes.keys()
    problems = _listed(f"missing: {theirs[name]}" for name in shapes if name in missing)
    problems += _listed(f"extra: {name}" for name in sorted(extra))
    problems += _listed(
        f"shape of {theirs[name]}: {list(tensors[theirs[name]].shape)}, not "
        f"{list(shape[::-1] if name.endswith('/kernel') else shape or (1,))}"
        for name, shape in shapes.items()
        if name in found and found[name].shape != shape
    )
    if problems:
        raise ValueError("its tensors are not those of its settings:\n  " + "\n  ".join(problems))
    return {name: np.array(found[name], order="C") for name in shapes}


def _listed(problems: Iterable[str]) -> list[str]:
    problems = list(problems)
    more = len(problems) - _AT_MOST
    return problems if more < 2 else [*problems[:_AT_MOST], f"and {more} more of this kind"]
