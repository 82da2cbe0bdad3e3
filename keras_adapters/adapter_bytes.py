"""The bytes of an adapter file: a description and tensors, by safetensors, with a checksum.

The file's header carries, as safetensors allows, the description and a checksum of it and of all
tensors. What the description says is `adapter_file`'s.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from keras_adapters.methods.checks import read_json, shown

DTYPES = ("float32", "float16", "bfloat16")
_DESCRIPTION, _CHECKSUM = "keras_adapters", "sha256"  # The keys in the header.
_LONGEST_HEADER = 100_000_000  # As in safetensors.
# By safetensors' names.
_STORED = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "BOOL": "?"},
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}
STORED_DTYPES = frozenset(map(np.dtype, _STORED.values()))
_NARROW = ("float16", "bfloat16")


def pack(description: str, tensors: Mapping[str, np.ndarray], dtype: str) -> bytes:
    """Returns a file of a description and tensors: the same for the same, to the byte.

    Args:
      description: any text.
      tensors: by their names, each of a type in `STORED_DTYPES`.
      dtype: what float32 tensors are stored as, one of `DTYPES`.

    Raises:
      ValueError: the dtype is none of them, or a value is beyond its range.
    """
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` must be one of {DTYPES}. Received: dtype={shown(dtype)}")
    stored = {name: _narrowed(name, value, dtype) for name, value in sorted(tensors.items())}
    header = {_DESCRIPTION: description, _CHECKSUM: _checksum(description, stored)}
    return _ordered(safetensors.numpy.save(stored, header))


def unpack(content: bytes) -> tuple[str | None, dict[str, np.ndarray]]:
    """Returns a file's description and its tensors, checked by the checksum.

    Args:
      content: the whole file.

    Returns:
      The description, or `None` where the header has none and nothing was checked; and the
      tensors by their names, those in 16 bits as float32.

    Raises:
      ValueError: it is damaged, or no safetensors file, or of types that no adapter has.
    """
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"it is damaged, or no safetensors file ({shown(str(error))})") from error
    size = int.from_bytes(content[:8], "little")
    header = read_json("a safetensors header", content[8 : 8 + size].decode("utf-8"))
    about = header.pop("__metadata__", None) or {}
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] not in _STORED:
            raise ValueError(f"{shown(name)} is of a type that no adapter has: {entry['dtype']}")
        value = np.frombuffer(entry["data"], dtype=_STORED[entry["dtype"]])
        if entry["dtype"] == "BOOL" and max(entry["data"], default=0) > 1:
            raise ValueError(f"{shown(name)} holds bytes that are no booleans")
        tensors[name] = value.reshape(entry["shape"])
    description = about.get(_DESCRIPTION)
    if description is not None and about.get(_CHECKSUM) != _checksum(description, tensors):
        raise ValueError("it is damaged: its contents do not fit its checksum")
    return description, {name: _widened(value) for name, value in tensors.items()}


def read(file: pathlib.Path) -> bytes:
    """Returns a file's bytes, as many as its header says, so that no other size is read.

    Raises:
      OSError: it cannot be read.
      ValueError: it is damaged, or no safetensors file.
    """
    with file.open("rb") as stream:
        found = os.fstat(stream.fileno()).st_size
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        if length > min(found, _LONGEST_HEADER):
            raise ValueError("it is damaged, or no safetensors file: its header has no end")
        start += stream.read(length)
        header = read_json("a safetensors header", start[8:].decode("utf-8"))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        try:
            size = len(start) + max((entry["data_offsets"][1] for entry in entries), default=0)
        except (TypeError, KeyError, IndexError) as error:
            raise ValueError("it is damaged, or no safetensors file: no offsets") from error
        if size != found:
            raise ValueError(f"it is damaged: it has {found:,} bytes, not {shown(size)}")
        return start + stream.read()


def _ordered(content: bytes) -> bytes:
    """Returns a file whose header does not depend on chance: safetensors orders no metadata."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # So that the tensors are aligned, as safetensors has them.
    return len(text).to_bytes(8, "little") + text + content[start:]


def _narrowed(name: str, value: np.ndarray, dtype: str) -> np.ndarray:
    if value.dtype == np.float32 and dtype != "float32":
        with np.errstate(over="ignore"):
            value = value.astype(dtype if dtype == "float16" else ml_dtypes.bfloat16)
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds values beyond the range of {dtype}")
    return np.array(value, order="C")


def _checksum(description: str, tensors: Mapping[str, np.ndarray]) -> str:
    hashed = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        value = tensors[name]
        hashed.update(f"\0{name}\0{value.dtype.name}{list(value.shape)}\0".encode())
        hashed.update(value.reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def _widened(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype.name in _NARROW else value
