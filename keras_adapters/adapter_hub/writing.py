"""Into AdapterHub's format: an `AdapterFile` as a folder that the `adapters` package loads."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from keras_adapters.adapter_card import CARD, is_as_written
from keras_adapters.adapter_file import AdapterFile
from keras_adapters.adapter_hub.card import card
from keras_adapters.adapter_hub.files import (
    CONFIG,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    NAMES,
    WEIGHTS,
    is_adapter_hub,
    write_tensors,
)
from keras_adapters.adapter_hub.heads import Head, write_head
from keras_adapters.adapter_hub.names import PREFIX, adapter_shapes, as_theirs, their_name
from keras_adapters.adapter_hub.reading import OURS, check_drop
from keras_adapters.adapter_hub.settings import write_activation, write_bottleneck
from keras_adapters.atomic import atomic_folder
from keras_adapters.methods.checks import shown

# What can be left behind by its name, and what it is.
DROPS: Mapping[str, str] = {
    "layer_norms": "the trained LayerNorms",
    "base": "the trained variables of the base that are no LayerNorms",
    "head": "the head",
    "labels": "the names of the labels",
}
# The format is that of the package's versions 1.2 and 1.3; a reader must be told one, or it
# takes `gelu` for another function.
_VERSION = "adapters.1.3.0"
_MODEL_CLASS = "BertAdapterModel"
# What a base must be for a BERT of transformers to be the same; the default is what is usual.
_BERT: Mapping[str, Any] = {"family": "bert", "norm_first": False, "embedding_scale": 1.0}
_KINDS = ("classification", "regression", "spans")


def write_adapter_hub(
    path: str | os.PathLike,
    adapter: AdapterFile,
    *,
    name: str | None = None,
    base_model: str | None = None,
    drop: Collection[str] = (),
) -> None:
    """Writes an adapter as a folder of AdapterHub's, for a `BertAdapterModel` of the same base.

    It loads with their plain `model.load_adapter(path)`, and with `use_safetensors=True`. What
    AdapterHub has no place for but is not needed to compute, such as metrics, is kept in
    `adapter_config.json`, where `read_adapter_hub` finds it.

    Args:
      path: the folder, which appears whole; one that was written before is replaced, but for a
        `README.md` that somebody has edited.
      adapter: an adapter, as `read_adapter` reads one.
      name: what it is to be called there; by default the metadata's `task`, what it was called
        there before, or `adapter`.
      base_model: what the base is called on the Hugging Face Hub, such as `bert-base-uncased`,
        for people and the card; by default the metadata's `base_model`.
      drop: names in `DROPS` of what may be left behind. Nothing is without being named.

    Raises:
      ValueError: the adapter holds what AdapterHub cannot express, the text says what and
        whether it can be dropped; `drop` names what is not there; the name has a dot; or other
        files than an adapter's are in the folder.
      OSError: it cannot be written; what stood there is untouched.
    """
    write_files(path, plan_files(adapter, name=name, base_model=base_model, drop=drop))


def plan_files(
    adapter: AdapterFile,
    *,
    name: str | None = None,
    base_model: str | None = None,
    drop: Collection[str] = (),
) -> dict[str, Any]:
    """Returns what `write_files` writes: settings and tensors by file names.

    Raises:
      ValueError: as `write_adapter_hub`.
    """
    drop = (drop,) if isinstance(drop, str) else tuple(drop)
    check_drop(drop, DROPS, _present(adapter, drop))
    name = _name(adapter, name)
    base_model = base_model or _text(adapter.metadata, "base_model")
    config, tensors, hidden_size = _adapters(adapter, drop)
    common = {
        "hidden_size": hidden_size,
        "model_class": _MODEL_CLASS,
        "model_name": base_model or _text(adapter.metadata, "encoder"),
        "model_type": "bert",
        "name": name,
        "version": _VERSION,
    }
    kept = {
        "base": adapter.base.fingerprint if adapter.base else None,
        "metadata": dict(adapter.metadata),
        "versions": dict(adapter.versions),
    }
    files: dict[str, Any] = {
        CONFIG: {**common, "config": config, OURS: kept},
        WEIGHTS: {PREFIX + their_name(ours, name): as_theirs(v) for ours, v in tensors.items()},
    }
    head = None
    if adapter.head_tensors and "head" not in drop:
        head, held = _head(adapter, hidden_size, drop)
        settings, files[HEAD_WEIGHTS] = write_head(head, held, name)
        files[HEAD_CONFIG] = {**common, "config": settings}
    dropped = [DROPS[name] for name in drop]
    files[CARD] = card(name, base_model, adapter, head.kind if head else None, dropped)
    return files


def write_files(path: str | os.PathLike, files: Mapping[Any, Any]) -> None:
    """Writes what `plan_files` returned; raises as `write_adapter_hub`."""
    path = pathlib.Path(path)
    check_replaceable(path)
    files = dict(files)
    if (path / CARD).is_file() and not is_as_written(path / CARD):
        files[CARD] = (path / CARD).read_text(encoding="utf-8")
    with atomic_folder(path) as folder:
        for target, content in files.items():
            if isinstance(target, tuple):
                write_tensors(folder, target, content)
            else:
                text = content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
                (folder / target).write_text(text, encoding="utf-8")


def check_replaceable(path: pathlib.Path) -> None:
    """Raises unless a path is free for a folder, or holds one of AdapterHub's and nothing else.

    Raises:
      FileExistsError: it is a file.
      ValueError: the folder holds other files, which to replace it would remove.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise FileExistsError(f"{path} is a file; a folder was to be written there")
    files = sorted(file.name for file in path.iterdir())
    others = [name for name in files if name not in (*NAMES, CARD) or not is_adapter_hub(path)]
    if others:
        raise ValueError(
            f"{path} holds other files than an adapter of AdapterHub's, such as {others[0]!r}, "
            "which would be removed. Name a new folder"
        )


def _present(adapter: AdapterFile, drop: Collection[str]) -> list[str]:
    """Returns which of `DROPS` an adapter has."""
    groups = _groups(adapter)
    present = [name for name in ("layer_norms", "base") if groups[name]]
    if adapter.head_tensors:
        present.append("head")
        if adapter.metadata.get("labels") and "head" not in drop:
            present.append("labels")
    return present


def _groups(adapter: AdapterFile) -> dict[str, dict[str, np.ndarray]]:
    """Returns the tensors inside the encoder: adapters, LayerNorms and the rest of the base."""
    groups: dict[str, dict[str, np.ndarray]] = {"adapters": {}, "layer_norms": {}, "base": {}}
    for name, value in adapter.encoder_tensors.items():
        norm = "/layer_norm/" in name
        inserted = name.split("/")[2:3] == ["adapter"]
        groups["adapters" if inserted else "layer_norms" if norm else "base"][name] = value
    return groups


def _adapters(
    adapter: AdapterFile, drop: Collection[str]
) -> tuple[dict[str, Any], dict[str, np.ndarray], int]:
    """Returns AdapterHub's settings of the adapters, their tensors and the hidden size."""
    config = adapter.method.insertion
    if config is None:
        raise ValueError(
            f"{adapter.source} holds no adapters, and AdapterHub's format has nothing for the "
            f"method {adapter.method.name!r}, which inserts none"
        )
    layers = _check_base(adapter)
    groups = _groups(adapter)
    for name in ("layer_norms", "base"):
        if groups[name] and name not in drop:
            raise ValueError(
                f"{adapter.source} holds {DROPS[name]}, such as {min(groups[name])}, and "
                "AdapterHub's format has no place for them. To export the adapter without them, "
                f"which changes what it computes, drop {name!r} by name. What is trained with "
                "the LayerNorms frozen loses nothing"
            )
    held = groups["adapters"]
    sizes = {v.shape[0] for n, v in held.items() if n.endswith("/down/kernel") and v.ndim == 2}
    hidden_size = min(sizes, default=0)
    shapes = adapter_shapes(config, hidden_size, layers)
    if {name: value.shape for name, value in held.items()} != shapes:
        raise ValueError(
            f"{adapter.source}: its tensors inside the encoder must be those of {config} in "
            f"{layers} layers. Received: {len(held)} tensors of adapters, {len(shapes)} expected"
        )
    return write_bottleneck(config, hidden_size=hidden_size, layers=layers), held, hidden_size


def _check_base(adapter: AdapterFile) -> int:
    """Returns the number of layers of the base, which must be a BERT that transformers has."""
    if adapter.base is None:
        raise ValueError(
            f"{adapter.source} is of version 1, which does not tell its base: load it into its "
            "encoder with `load_adapter`, and save it anew with `save_adapter`"
        )
    found = adapter.base.architecture
    for key, value in _BERT.items():
        if found.get(key, value) != value:
            raise ValueError(
                f"{adapter.source}: its base must be a BERT that transformers has, where {key} is "
                f"{value!r}. Received: {key}={shown(found[key])}"
            )
    projections = [name for name in adapter.base.digests if "projection" in name]
    layers = found.get("layers")
    if projections or type(layers) is not int:
        what = projections[0] if projections else f"layers={shown(layers)}"
        raise ValueError(
            f"{adapter.source}: its base must be a BERT that transformers has. Received: {what}"
        )
    return layers


def _head(
    adapter: AdapterFile, hidden_size: int, drop: Collection[str]
) -> tuple[Head, dict[str, np.ndarray]]:
    """Returns the head in neutral words, and its tensors."""
    held = {f"head/{name}": value for name, value in adapter.head_tensors.items()}
    try:
        head = _describe_head(adapter.metadata, held, "labels" not in drop)
        shapes = head.shapes(hidden_size)
        found = {name: value.shape for name, value in held.items()}
        if found != shapes:
            raise ValueError(f"its tensors must have the shapes {shapes}. Received: {found}")
    except ValueError as error:
        raise ValueError(
            f"{adapter.source} holds a head that AdapterHub has none like: {error}. To export the "
            "adapters without it, drop 'head' by name"
        ) from error
    return head, held


def _describe_head(
    metadata: Mapping[str, Any], held: Mapping[str, np.ndarray], named: bool
) -> Head:
    form = metadata.get("form")
    kind = form.get("kind") if isinstance(form, Mapping) else None
    pooling = metadata.get("pooling")
    kind = "classification" if kind is None else kind
    readable = (None,) if kind == "spans" else ("pooler", "first")
    if kind not in _KINDS or pooling not in readable:
        raise ValueError(
            "the metadata must say what it is and what it reads: `form.kind` one of "
            f"{', '.join(_KINDS)}, and `pooling` 'pooler' or 'first' (none for spans), for theirs "
            f"read the first token. Received: kind={shown(kind)}, pooling={shown(pooling)}"
        )
    logits = held.get("head/logits/bias")
    outputs = logits.shape[0] if logits is not None and logits.ndim == 1 else 0
    labels = metadata.get("labels") if named else None
    labels = list(labels) if isinstance(labels, list | tuple) else []
    activation = metadata.get("head_activation")
    if activation is not None:
        if not isinstance(activation, str):
            raise ValueError(f"`head_activation` is no text: {shown(activation)}")
        write_activation(activation)
    distinct = all(isinstance(label, str) for label in labels) and len(set(labels)) == len(labels)
    if labels and (not distinct or len(labels) != outputs):
        raise ValueError(
            f"AdapterHub keeps labels by their names, so {outputs} labels must be {outputs} "
            f"different texts. Received: {shown(labels)}. Or drop 'labels' by name"
        )
    return Head(kind, pooling, outputs, tuple(labels), activation)


def _name(adapter: AdapterFile, name: str | None) -> str:
    """Returns the adapter's name there: torch allows no dots in it."""
    if name is None:
        before = adapter.metadata.get("adapter_hub")
        before = _text(before, "name") if isinstance(before, Mapping) else None
        return (_text(adapter.metadata, "task") or before or "adapter").replace(".", "_")
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(f"`name` must be a text without dots. Received: name={shown(name)}")
    return name


def _text(metadata: Mapping[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) and value else None
