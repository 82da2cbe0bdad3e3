"""An adapter alone on disk: one file with what was trained, and nothing of the base.

A folder holds `adapter.safetensors`, which is all that a reader needs, and `README.md`, a model
card that a person and the Hugging Face Hub understand. The file has a description in JSON: the
method, what the pretrained base was, the caller's metadata and the versions that wrote it;
`adapter_bytes` says how it lies there. So a reader that opens the file has one whole adapter,
whatever a writer does meanwhile.

Nothing here knows any Keras: `saving` puts models into such files and back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import numbers
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_adapters import adapter_bytes
from keras_adapters.adapter_card import CARD, card, is_as_written
from keras_adapters.atomic import write_files
from keras_adapters.fingerprint import Base
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.checks import check_depth, read_json, real_number, shown
from keras_adapters.methods.method import Method

FILE = "adapter.safetensors"
DTYPES = adapter_bytes.DTYPES
HEAD = "head/"
_FORMAT, _VERSION = "keras_adapters", 2
_LONGEST_NAME = 1_000
_KEYS = ("format", "version", "method", "base", "metadata", "versions")
# Version 1 kept its description in a file of its own.
_OLD_DESCRIPTION = "adapter.json"
_OLD_KEYS = ("format", "version", "adapter_config", "base_fingerprint", "metadata")


class AdapterFileError(ValueError):
    """An adapter file is damaged, or does not fit what it is loaded into."""


@dataclasses.dataclass(frozen=True)
class AdapterFile:
    """What one adapter file holds.

    Args:
      method: what was inserted, and what of the base trained.
      base: the pretrained encoder as it was before; `None` in files of version 1.
      tensors: by stable names, inside the encoder those of `encoder_variables`, of the head
        `head/` and its variables'; finite, and not in 16 bits.
      metadata: what the caller says of it, in JSON's types.
      versions: of the packages that wrote it.
      frozen_digest: of version 1: a digest of the base's variables that are not in `tensors`;
        `None` where all are.
      source: the file that it was read from, for errors.

    Raises:
      ValueError: a tensor is empty-named, of a type that no file holds, or not finite; or the
        metadata is not what JSON can hold.
    """

    method: Method
    base: Base | None
    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    frozen_digest: str | None = None
    source: str = "the adapter"

    def __post_init__(self) -> None:
        if not isinstance(self.metadata, Mapping):
            raise ValueError(f"`metadata` must be a mapping. Received: {shown(self.metadata)}")
        check_depth("`metadata`", self.metadata)
        object.__setattr__(self, "metadata", _plain("metadata", self.metadata))
        if not self.tensors:
            raise ValueError("an adapter holds at least one tensor")
        for name, value in self.tensors.items():
            if not isinstance(name, str) or not name.strip("/") or len(name) > _LONGEST_NAME:
                raise ValueError(
                    f"a tensor must have a name of at most {_LONGEST_NAME} characters. "
                    f"Received: {shown(name)}"
                )
            if np.dtype(value.dtype) not in adapter_bytes.STORED_DTYPES:
                raise ValueError(f"{name} is of a type that no file holds: {value.dtype}")
            if not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite: it holds NaN or infinite values")

    @property
    def encoder_tensors(self) -> dict[str, np.ndarray]:
        """Those inside the encoder."""
        return {n: v for n, v in self.tensors.items() if not n.startswith(HEAD)}

    @property
    def head_tensors(self) -> dict[str, np.ndarray]:
        """Those of the head, by their names without `head/`."""
        return {n[len(HEAD) :]: v for n, v in self.tensors.items() if n.startswith(HEAD)}

    def check_base(self, base: Base) -> None:
        """Raises AdapterFileError, which says what differs, unless it was trained on a base.

        Raises:
          ValueError: the file is of version 1, which does not tell.
        """
        if self.base is None:
            raise ValueError(f"{self.source} is of version 1, which does not tell its base")
        differing = base.differences(self.base)
        if differing:
            raise AdapterFileError(
                f"{self.source} was trained on another pretrained encoder than this one. "
                "Load the one it was trained on"
                + (f", {self.metadata['encoder']}" if self.metadata.get("encoder") else "")
                + ". This encoder:\n  "
                + "\n  ".join(differing)
            )


def read_adapter(path: str | os.PathLike) -> AdapterFile:
    """Reads an adapter.

    Args:
      path: the folder that `write_adapter` or `save_adapter` wrote, of the present version or
        of version 1, or the `.safetensors` file in it.

    Returns:
      What it holds, checked against the checksum; tensors in 16 bits come as float32.

    Raises:
      FileNotFoundError: there is none.
      OSError: it cannot be read.
      AdapterFileError: it is damaged, or of another format or version.
    """
    path = pathlib.Path(path)
    file = path if path.suffix == ".safetensors" and not path.is_dir() else path / FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing: {path} is not an adapter saved by keras_adapters"
        )
    try:
        return _read(file)
    except ValueError as error:
        raise AdapterFileError(f"{file}: {error}") from error
    except MemoryError as error:
        raise OSError(errno.ENOMEM, f"{file} cannot be read: out of memory") from error
    except OSError as error:
        # One in the midst of reading does not tell the file by itself.
        raise OSError(error.errno, f"{file} cannot be read: {error.strerror}") from error


def _read(file: pathlib.Path) -> AdapterFile:
    text, tensors = adapter_bytes.unpack(adapter_bytes.read(file))
    if text is None:
        old = _old_description(file)
        if old is not None:
            return _from_old(file, old, tensors)
        # A writer may just have put the present version in the place of the earlier one.
        text, tensors = adapter_bytes.unpack(adapter_bytes.read(file))
    if text is None:
        raise ValueError("it is not an adapter of keras_adapters: its header does not say so")
    return _from_description(str(file), text, tensors)


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the metadata that an adapter was saved with; raises as `read_adapter` does."""
    return dict(read_adapter(path).metadata)


def write_adapter(path: str | os.PathLike, adapter: AdapterFile, dtype: str = "float32") -> None:
    """Writes an adapter, in one step: readers find the one before or this one, whole.

    Args:
      path: the folder, made if it is not there. An adapter in it is replaced; other files stay,
        also a `README.md` that somebody has edited.
      adapter: what to write.
      dtype: what float32 tensors are stored as, one of `DTYPES`.

    Raises:
      ValueError: the dtype is none of them, a value is beyond its range, or the adapter tells
        no base.
      OSError: it cannot be written.
    """
    path = pathlib.Path(path)
    if os.path.lexists(path) and not path.is_dir():
        raise FileExistsError(f"{path} is a file; an adapter is written as a folder")
    files = {path / FILE: to_bytes(adapter, dtype)}
    if is_as_written(path / CARD):
        files = {path / CARD: _card(adapter).encode(), **files}
    write_files(files)
    with contextlib.suppress(OSError):  # Nobody reads it any more.
        (path / _OLD_DESCRIPTION).unlink(missing_ok=True)


def _card(adapter: AdapterFile) -> str:
    parameters = sum(value.size for value in adapter.tensors.values())
    fingerprint = adapter.base.fingerprint
    return card(adapter.method, adapter.metadata, fingerprint, len(adapter.tensors), parameters)


def to_bytes(adapter: AdapterFile, dtype: str = "float32") -> bytes:
    """Returns the file that `write_adapter` writes; raises ValueError as it does."""
    if adapter.base is None:
        raise ValueError("an adapter of which the base is not known cannot be written")
    description = json.dumps(
        {
            "format": _FORMAT,
            "version": _VERSION,
            "method": json.loads(adapter.method.to_json()),
            "base": json.loads(adapter.base.to_json()),
            "metadata": adapter.metadata,
            "versions": dict(adapter.versions),
        },
        allow_nan=False,
    )
    content = adapter_bytes.pack(description, adapter.tensors, dtype)
    # What cannot be read again is not written.
    _from_description(adapter.source, *adapter_bytes.unpack(content))
    return content


def _from_description(source: str, text: str, tensors: Mapping[str, np.ndarray]) -> AdapterFile:
    described = read_json("an adapter's description", text)
    _check_format(described, _VERSION)
    if set(described) != set(_KEYS):
        raise ValueError(
            f"its description must have the keys {_KEYS}, not {shown(sorted(described))}"
        )
    versions = described["versions"]
    if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
        raise ValueError(f"`versions` must be an object of texts. Received: {shown(versions)}")
    return AdapterFile(
        Method.from_json(json.dumps(described["method"])),
        Base.from_json_dict(described["base"]),
        tensors,
        described["metadata"],
        versions,
        source=source,
    )


def _old_description(file: pathlib.Path) -> str | None:
    """Returns the description of version 1, which stands in a file of its own, if there is one."""
    try:
        return (file.parent / _OLD_DESCRIPTION).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _from_old(file: pathlib.Path, text: str, tensors: Mapping[str, np.ndarray]) -> AdapterFile:
    """Returns what version 1 holds."""
    path = file.parent / _OLD_DESCRIPTION
    described = read_json(str(path), text)
    _check_format(described, 1)
    if set(described) != set(_OLD_KEYS):
        raise ValueError(f"{path} must have the keys {_OLD_KEYS}, not {shown(sorted(described))}")
    settings, digest = described["adapter_config"], described["base_fingerprint"]
    if digest is not None and not isinstance(digest, str):
        raise ValueError(f"{path}: `base_fingerprint` must be a text. Received: {shown(digest)}")
    insertion = None if settings is None else AdapterConfig.from_json(json.dumps(settings))
    of_base = [n for n in tensors if not n.startswith(HEAD) and "/adapter/" not in n]
    norms = all("layer_norm/" in name for name in of_base)
    trains = ("layer_norms" if norms else "all") if of_base else "nothing"
    return AdapterFile(
        Method(insertion, trains),
        None,
        tensors,
        described["metadata"],
        frozen_digest=digest,
        source=str(file),
    )


def _check_format(described: Mapping[str, Any], version: int) -> None:
    found = described.get("format"), described.get("version")
    if found != (_FORMAT, version) or type(found[1]) is not int:
        raise ValueError(
            f"it must say format {_FORMAT!r}, version {version}. Received: format "
            f"{shown(found[0])}, version {shown(found[1])}"
        )


def _plain(where: str, value: Any) -> Any:
    """Returns a value in JSON's types; raises ValueError that says where it is none of them."""
    if value is None or isinstance(value, bool | np.bool_):
        return value if value is None else bool(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"`{where}` must be UTF-8. Received: {value!r}") from error
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return real_number(where, value)
    if isinstance(value, list | tuple):
        return [_plain(f"{where}[{index}]", inner) for index, inner in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"`{where}` must have texts as keys. Received: {key!r}")
        return {_plain(where, k): _plain(f"{where}.{k}", inner) for k, inner in value.items()}
    raise ValueError(
        f"`{where}` must be what JSON can hold: texts, finite numbers, booleans, None, lists and "
        f"mappings of them. Received: {shown(value)}"
    )
