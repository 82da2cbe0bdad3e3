"""The files of an AdapterHub folder: their names, and what is in them, without running code."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from keras_adapters.adapter_file import AdapterFileError
from keras_adapters.adapter_hub.torch_files import read_torch, write_torch
from keras_adapters.methods.checks import read_json

CONFIG = "adapter_config.json"
HEAD_CONFIG = "head_config.json"
# The safe form first, then the one that the `adapters` package reads and writes by default.
WEIGHTS = ("adapter.safetensors", "pytorch_adapter.bin")
HEAD_WEIGHTS = ("model_head.safetensors", "pytorch_model_head.bin")
NAMES = (CONFIG, HEAD_CONFIG, *WEIGHTS, *HEAD_WEIGHTS)
_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "F64": "<f8"}


def is_adapter_hub(path: str | os.PathLike) -> bool:
    """Says whether a path is that of a folder in AdapterHub's format."""
    return (pathlib.Path(path) / CONFIG).is_file()


def read_settings(path: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Raises:
      OSError: it is missing or cannot be read.
      AdapterFileError: it holds no JSON object, or one with a key twice.
    """
    try:
        return read_json("it", path.read_bytes().decode("utf-8"))
    except ValueError as error:
        raise AdapterFileError(f"{path}: {error}") from error


def read_tensors(folder: pathlib.Path, names: tuple[str, str]) -> dict[str, np.ndarray]:
    """Returns the tensors of the one of two files that is there.

    Args:
      folder: where.
      names: the safetensors file's name and that of torch's.

    Returns:
      Arrays by name, `<float32>`.

    Raises:
      FileNotFoundError: there is neither.
      OSError: it cannot be read.
      AdapterFileError: it is damaged, or holds anything but finite floating-point tensors that
        float32 can hold; or both files are there and do not hold the same.
    """
    present = [folder / name for name in names if (folder / name).is_file()]
    if not present:
        raise FileNotFoundError(f"{folder} has no {names[0]} and no {names[1]}")
    found = [_read_file(path) for path in present]
    if len(found) == 2 and not _equal(*found):
        raise AdapterFileError(
            f"{present[0]} and {present[1].name} hold different tensors, and either may be meant: "
            "remove one of them"
        )
    return found[0]


def write_tensors(
    folder: pathlib.Path, names: tuple[str, str], tensors: Mapping[str, np.ndarray]
) -> None:
    """Writes tensors, as float32, into both of two files: safetensors and torch's."""
    arrays = {name: np.array(value, np.float32, order="C") for name, value in tensors.items()}
    # As bytes: safetensors' own writer makes a file that only its owner may read.
    (folder / names[0]).write_bytes(safetensors.numpy.save(arrays, {"format": "pt"}))
    (folder / names[1]).write_bytes(write_torch(arrays))


def _read_file(path: pathlib.Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    try:
        found = _read_safe(content) if path.suffix == ".safetensors" else read_torch(content)
        return {name: _single(name, value) for name, value in found.items()}
    except ValueError as error:
        raise AdapterFileError(f"{path}: {error}") from error


def _read_safe(content: bytes) -> dict[str, np.ndarray]:
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"it is damaged, or no safetensors file ({error})") from error
    tensors = {}
    for name, entry in entries:
        if entry["dtype"] not in _TYPES:
            raise ValueError(f"{name} must be of {', '.join(_TYPES)}. Received: {entry['dtype']}")
        if name in tensors:
            raise ValueError(f"it holds {name} twice")
        value = np.frombuffer(entry["data"], dtype=_TYPES[entry["dtype"]])
        tensors[name] = value.reshape(entry["shape"])
    return tensors


def _single(name: str, value: np.ndarray) -> np.ndarray:
    """Returns values as float32, which must hold them."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = value.astype(np.float32)
    if not np.isfinite(single).all():
        raise ValueError(f"{name} must be finite in float32: it holds NaN or too large values")
    if not np.array_equal(single.astype(value.dtype), value):
        raise ValueError(f"{name} is of {value.dtype}, and float32 cannot hold its values")
    return single


def _equal(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )
