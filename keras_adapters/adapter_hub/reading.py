"""From AdapterHub's format: a folder, checked, as an `AdapterFile`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from keras_adapters.adapter_file import AdapterFile, AdapterFileError
from keras_adapters.adapter_hub.files import (
    CONFIG,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    WEIGHTS,
    read_settings,
    read_tensors,
)
from keras_adapters.adapter_hub.heads import Head, read_head
from keras_adapters.adapter_hub.names import (
    adapter_shapes,
    present_name,
    renamed,
    their_name,
)
from keras_adapters.adapter_hub.settings import read_bottleneck
from keras_adapters.fingerprint import Base
from keras_adapters.methods.checks import shown, whole_number
from keras_adapters.methods.method import Method

# The key in `adapter_config.json` under which an export keeps what AdapterHub has no place for.
OURS = "keras_adapters"
DROPS = ("head",)
_HEAD_WITHOUT = "The adapters alone can be had: drop the head by name"


@dataclasses.dataclass(frozen=True)
class AdapterHubFolder:
    """What a folder holds, in AdapterHub's words, as far as it can be checked without a base.

    Args:
      path: the folder.
      settings: what is in `adapter_config.json`.
      tensors: of the adapters, by AdapterHub's present names, without `bert.`.
      head: the head, and its tensors by the names of an adapter file; None without one.
    """

    path: pathlib.Path
    settings: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]
    head: tuple[Head, Mapping[str, np.ndarray]] | None

    @property
    def hidden_size(self) -> int:
        """The hidden size of the encoder that it was trained in."""
        return self.settings["hidden_size"]

    @property
    def model_name(self) -> str | None:
        """What that encoder was called, or the path that it was loaded from."""
        return self.settings.get("model_name")

    def adapted(self, layers: int) -> tuple[Method, dict[str, np.ndarray]]:
        """Returns the method and the tensors, by our names, in an encoder of so many layers.

        Raises:
          AdapterFileError: they do not fit it; a setting is malformed or one that there is
            nothing for here; or tensors are missing, extra or of another shape.
        """
        name, tensors = self.settings["name"], self.tensors
        task_without_inverse = self.settings.get("type") == "text_task" and not any(
            "invertible" in key for key in tensors
        )
        with _told(self.path / CONFIG):
            config = read_bottleneck(
                self.settings.get("config"),
                hidden_size=self.hidden_size,
                layers=layers,
                versioned="version" in self.settings,
                inverts=not task_without_inverse,
            )
        shapes = adapter_shapes(config, self.hidden_size, layers)
        names = {their_name(ours, name): ours for ours in shapes}
        with _told(self.path):
            return Method(config, trains="nothing"), renamed(tensors, names, shapes)


def read_adapter_hub(
    path: str | os.PathLike, base: Base, drop: Collection[str] = ()
) -> AdapterFile:
    """Reads a folder of AdapterHub's.

    Their adapters leave the base as it is, so the method's `trains` is `"nothing"`. A folder
    holds nothing of the base, so the encoder that it was trained in is for the caller to name.

    Args:
      path: a folder that `save_adapter` of the `adapters` package, of its forerunner
        `adapter-transformers`, or `write_adapter_hub` wrote for a BERT, with
        `adapter.safetensors` or `pytorch_adapter.bin`. No code in it is run.
      base: the encoder that the adapter was trained in, as `base_of` tells it. Its number of
        layers must be the adapter's; its hidden size shows when the adapter is loaded.
      drop: `("head",)` to leave the head behind.

    Returns:
      What `write_adapter` can write: tensors by the names of `encoder_variables` and of
      `heads`, `<float32>`, and metadata: `encoder`, their name for the base; `form`,
      `labels`, `pooling` and `head_activation` of the head, see `heads`; and `adapter_hub`,
      what else the folder says. An export of ours keeps its own metadata.

    Raises:
      OSError: a file is missing or cannot be read.
      AdapterFileError: a file is damaged, or holds what there is nothing for here; the text
        names the file, the setting and its value. Or it was not trained in this base.
      ValueError: `drop` names something else, or a head that is not there.
    """
    folder = read_folder(path, drop)
    return to_adapter_file(folder, base)


def read_folder(path: str | os.PathLike, drop: Collection[str] = ()) -> AdapterHubFolder:
    """Reads and checks all that can be told without a base; raises as `read_adapter_hub`."""
    path = pathlib.Path(path)
    settings = read_settings(path / CONFIG)
    with _told(path / CONFIG):
        _check_settings(settings)
    head_files = [name for name in (HEAD_CONFIG, *HEAD_WEIGHTS) if (path / name).is_file()]
    check_drop(drop, DROPS, ["head"] if head_files else [])
    tensors: dict[str, np.ndarray] = {}
    for name, value in read_tensors(path, WEIGHTS).items():
        if present_name(name) in tensors:
            raise AdapterFileError(f"{path}: {name} is there twice, under two spellings")
        tensors[present_name(name)] = value
    head = None
    if head_files and "head" not in drop:
        about = read_settings(path / HEAD_CONFIG)
        held = read_tensors(path, HEAD_WEIGHTS)
        with _told(path / HEAD_CONFIG, _HEAD_WITHOUT):
            head = read_head(about, held, settings["hidden_size"])
    return AdapterHubFolder(path, settings, tensors, head)


def to_adapter_file(folder: AdapterHubFolder, base: Base) -> AdapterFile:
    """Returns the adapter of a folder in its base; raises as `read_adapter_hub`."""
    with _told(folder.path / CONFIG):
        stored = _stored(folder.settings)
        known = stored.get("base", base.fingerprint)
        if known != base.fingerprint:
            raise ValueError(
                f"it was trained on another pretrained encoder than the one given: the base's "
                f"fingerprint is {shown(known)}, and not {base.fingerprint}"
            )
        layers = whole_number("the base's layers", base.architecture.get("layers"), 1)
    method, tensors = folder.adapted(layers)
    metadata = {**_metadata(folder), **stored["metadata"]}
    if folder.head is not None:
        head, held = folder.head
        form = stored["metadata"].get("form")
        form = {**(form if isinstance(form, dict) else {}), "kind": head.kind}
        tensors |= held
        metadata |= {**head.metadata(), "form": form}
    with _told(folder.path):
        return AdapterFile(
            method, base, tensors, metadata, stored["versions"], source=str(folder.path)
        )


def check_drop(drop: Collection[str], known: Collection[str], present: Collection[str]) -> None:
    """Raises ValueError unless all that is to be dropped is known, and there to be dropped."""
    names = (drop,) if isinstance(drop, str) else tuple(drop)
    for name in names:
        if name not in known:
            raise ValueError(
                f"`drop` must hold only {', '.join(known)}. Received: drop={shown(names)}"
            )
        if name not in present:
            raise ValueError(
                f"`drop` must name what is there to be dropped, and there are no {name} here. "
                f"Received: drop={shown(names)}"
            )


def _check_settings(settings: Mapping[str, Any]) -> None:
    if settings.get("model_type") != "bert":
        raise ValueError(
            "`model_type` must be 'bert', the family that there is here. "
            f"Received: model_type={shown(settings.get('model_type'))}"
        )
    whole_number("hidden_size", settings.get("hidden_size"), 1)
    name = settings.get("name")
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(
            f"`name` must be a text without dots, for it stands in the tensors' names. "
            f"Received: name={shown(name)}"
        )
    for field in ("model_name", "version", "type"):
        if not isinstance(settings.get(field), str | None):
            raise ValueError(
                f"`{field}` must be a text. Received: {field}={shown(settings[field])}"
            )


def _stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what an export of ours has kept beside AdapterHub's settings."""
    stored = settings.get(OURS, {})
    empty = {"metadata": {}, "versions": {}}
    if not isinstance(stored, dict) or any(
        not isinstance(stored.get(key, {}), dict) for key in empty
    ):
        raise ValueError(
            f"`{OURS}` must hold the objects metadata and versions. Received: {shown(stored)}"
        )
    version = settings.get("version") or ""
    package, _, number = version.partition(".")
    empty["versions"] = {package: number} if number and package == "adapters" else {}
    versions = stored.get("versions", {})
    if not all(isinstance(version, str) for version in versions.values()):
        raise ValueError(f"`{OURS}`: `versions` must be texts. Received: {shown(versions)}")
    return {**empty, **stored}


def _metadata(folder: AdapterHubFolder) -> dict[str, Any]:
    settings = folder.settings
    told = ("name", "model_name", "model_class", "version", "type")
    return {
        "method": "adapters",
        "encoder": folder.model_name,
        "adapter_hub": {key: settings[key] for key in told if key in settings},
    }


@contextlib.contextmanager
def _told(path: pathlib.Path, advice: str = "") -> Iterator[None]:
    """Makes a ValueError an AdapterFileError that names the file."""
    try:
        yield
    except ValueError as error:
        text = f"{path}: {error}"
        raise AdapterFileError(f"{text}. {advice}" if advice else text) from error
