"""Which variables a BERT of some settings has, and whether a file holds just them.

Needs no TensorFlow, and no memory but that of names: a file is held against its
configuration before anything is made of either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Shape = tuple[int, ...]
# What methods of transfer learning call the layers that they insert.
INSERTED = re.compile(r"adapter|lora", re.IGNORECASE)
_AT_MOST = 16


def variable_shapes(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Returns the shapes of a BERT's variables.

    Args:
      config: the settings that `converters.configs` speaks of.

    Returns:
      Shapes by the names of `keras_adapters.variables.encoder_variables`.
    """
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    width, heads = config["embedding_size"], config["num_attention_heads"]
    split = (heads, hidden // heads)
    shapes = {
        "embeddings/word": (config["vocab_size"], width),
        "embeddings/position": (config["max_position_embeddings"], width),
        "embeddings/type": (config["type_vocab_size"], width),
        **_norm("embeddings/layer_norm", width),
        **({} if width == hidden else _dense("embeddings/projection", (width,), (hidden,))),
    }
    for index in range(config["num_hidden_layers"]):
        block = f"layer_{index}"
        for name in ("query", "key", "value"):
            shapes |= _dense(f"{block}/attention/{name}", (hidden,), split)
        shapes |= _dense(f"{block}/attention/output", split, (hidden,))
        shapes |= _norm(f"{block}/attention/layer_norm", hidden)
        shapes |= _dense(f"{block}/intermediate", (hidden,), (inner,))
        shapes |= _dense(f"{block}/output", (inner,), (hidden,))
        shapes |= _norm(f"{block}/output/layer_norm", hidden)
    return {**shapes, **_dense("pooler", (hidden,), (hidden,))}


def variable_names(config: Mapping[str, Any], tensors: int) -> list[str]:
    """Returns the names of `variable_shapes`, of at most as many blocks as a file has tensors."""
    blocks = min(config["num_hidden_layers"], tensors)
    return list(variable_shapes({**config, "num_hidden_layers": blocks}))


def flat(name: str, shape: Shape) -> Shape:
    """Returns a variable's shape with attention's axes of heads and head size as one."""
    if name.endswith("/attention/output/kernel"):
        return shape[0] * shape[1], shape[2]
    if re.search(r"/attention/(query|key|value)/(kernel|bias)$", name):
        return *shape[:-2], shape[-2] * shape[-1]
    return shape


def check_base(names: Iterable[str], source: str) -> None:
    """Raises ValueError if a variable's name is one of an adapter's: the file is no base."""
    inserted = sorted(name for name in names if INSERTED.search(name))
    if inserted:
        raise ValueError(
            f"{source} holds an encoder with adapters, not a base: {inserted[0]} is one of "
            f"{len(inserted)} variables of theirs. Load the checkpoint of the base, and then the "
            "adapter file with `load_adapter`"
        )


def check_shapes(config: Mapping[str, Any], found: Mapping[str, Shape], source: str) -> None:
    """Raises unless a file holds a BERT's variables, each in its shape or in its `flat` one.

    Args:
      config: the settings that `converters.configs` speaks of.
      found: shapes by the names of `variable_shapes`.
      source: the file, for the error.

    Raises:
      ValueError: it holds adapters; or names are missing or extra or shapes differ, all in
        one error.
    """
    check_base(found, source)
    if config["num_hidden_layers"] > len(found):
        raise ValueError(
            f"{source} does not fit the model: its configuration says num_hidden_layers="
            f"{config['num_hidden_layers']}, but it holds {len(found)} variables"
        )
    expected = variable_shapes(config)
    problems = _listed(f"missing: {name}" for name in sorted(expected.keys() - found.keys()))
    problems += _listed(f"extra: {name}" for name in sorted(found.keys() - expected.keys()))
    problems += _listed(_differing(expected, found))
    if problems:
        raise ValueError(f"{source} does not fit the model:\n  " + "\n  ".join(problems))


def _differing(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> Iterable[str]:
    for name in sorted(expected.keys() & found.keys()):
        shape, own = found[name], expected[name]
        if shape not in (own, flat(name, own)):
            wanted = own if len(shape) == len(own) else flat(name, own)
            yield f"shape of {name}: {list(shape)}, not {list(wanted)}"


def _listed(problems: Iterable[str]) -> list[str]:
    problems = list(problems)
    more = len(problems) - _AT_MOST
    return problems if more < 2 else [*problems[:_AT_MOST], f"and {more} more of this kind"]


def _dense(name: str, inputs: Shape, outputs: Shape) -> dict[str, Shape]:
    return {f"{name}/kernel": (*inputs, *outputs), f"{name}/bias": outputs}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}
