"""torch's files of tensors, read and written without torch: the zip format and the one before.

Reference:
  `torch/serialization.py` of torch 2.13 and, for the format before 1.6, its `_legacy_save`.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_adapters.adapter_hub.torch_pickle import (
    Storage,
    StoredTensor,
    read_pickle,
    write_pickle,
)

_ZIP = b"PK\x03\x04"
# What the pickles before the tensors hold in the format before the zip's.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_ROOT = "archive"
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def read_torch(content: bytes) -> dict[str, np.ndarray]:
    """Reads a state dictionary that `torch.save` wrote, without running code.

    Args:
      content: the file's bytes.

    Returns:
      Arrays by name, `<float16, bfloat16, float32 or float64>`.

    Raises:
      ValueError: it is damaged, or holds anything but such tensors.
    """
    if content.startswith(_ZIP):
        found, order, data = _read_zip(content)
    else:
        found, order, data = _read_sequence(content)
    if not isinstance(found, dict) or not all(isinstance(v, StoredTensor) for v in found.values()):
        raise ValueError("it must hold a dictionary of tensors")
    return {name: _values(name, tensor, order, data) for name, tensor in found.items()}


def write_torch(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Returns the file that `torch.save` makes of a state dictionary, the same for the same.

    Args:
      tensors: arrays by name; they are written as float32.
    """
    arrays = {name: np.array(value, "<f4", order="C") for name, value in tensors.items()}
    records = {
        "data.pkl": write_pickle(arrays),
        "byteorder": b"little",
        **{f"data/{index}": value.tobytes() for index, value in enumerate(arrays.values())},
        "version": b"3\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, record in records.items():
            archive.writestr(zipfile.ZipInfo(f"{_ROOT}/{name}", _NO_TIME), record)
    return buffer.getvalue()


def _read_zip(content: bytes) -> tuple[Any, str, dict[str, bytes]]:
    """Returns what the pickle holds, the byte order and the storages by their keys."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = _records(archive, len(content))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise ValueError(f"it is damaged, or no file of torch's ({error})") from error
    except (struct.error, IndexError, OverflowError, MemoryError) as error:
        raise ValueError("it is damaged, or no file of torch's") from error
    if "data.pkl" not in records:
        raise ValueError("it is no file of torch's: its archive has no data.pkl")
    orders = {b"little": "<", b"big": ">"}
    order = orders.get(records.get("byteorder", b"little"))
    if order is None:
        raise ValueError("its byteorder must be little or big")
    data = {name[5:]: record for name, record in records.items() if name.startswith("data/")}
    pickle = io.BytesIO(records["data.pkl"])
    return _read_whole(pickle), order, data


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, bytes]:
    """Returns an archive's records by their names below its one folder."""
    records = {}
    infos = archive.infolist()
    roots = {info.filename.partition("/")[0] for info in infos}
    if len(roots) != 1 or sum(info.file_size for info in infos) > size:
        raise ValueError("it is damaged, or no file of torch's: its archive is not of one folder")
    for info in infos:
        name = info.filename.partition("/")[2]
        if info.compress_type != zipfile.ZIP_STORED or name in records:
            raise ValueError(f"it is no file of torch's: {info.filename!r} is packed, or twice")
        records[name] = archive.read(info)
    return records


def _read_sequence(content: bytes) -> tuple[Any, str, dict[str, bytes]]:
    """Reads the format before torch 1.6: pickles one after the other, then the storages."""
    file = io.BytesIO(content)
    start = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."
    if not content.startswith(start):
        raise ValueError("it is no file of torch's")
    read_pickle(file)
    if read_pickle(file) != _PROTOCOL:
        raise ValueError(f"it is of another version of torch's format before 1.6 than {_PROTOCOL}")
    read_pickle(file)  # The machine that wrote it; values are little-endian on any.
    found, keys = read_pickle(file), read_pickle(file)
    held = found.values() if isinstance(found, dict) else ()
    storages = {t.storage.key: t.storage for t in held if isinstance(t, StoredTensor)}
    if not isinstance(keys, list) or not all(isinstance(k, str) and k in storages for k in keys):
        raise ValueError("it is damaged: its storages are not those of its tensors")
    data = {}
    for key in keys:
        storage = storages[key]
        length = storage.numel * np.dtype(storage.dtype).itemsize
        if file.read(8) != storage.numel.to_bytes(8, "little") or length > len(content):
            raise ValueError("it is damaged: a storage has another size than its tensor")
        data[key] = file.read(length)
    if file.read(1):
        raise ValueError("it is damaged: more follows its tensors")
    return found, "<", data


def _read_whole(file: io.BytesIO) -> Any:
    found = read_pickle(file)
    if file.read(1):
        raise ValueError("it is damaged: more follows its pickle")
    return found


def _values(name: str, tensor: StoredTensor, order: str, data: Mapping[str, bytes]) -> np.ndarray:
    storage: Storage = tensor.storage
    raw = np.dtype(f"{order}u{np.dtype(storage.dtype).itemsize}")
    held = data.get(storage.key, b"")
    size = math.prod(tensor.shape)
    if len(tensor.shape) != len(tensor.strides) or not 0 < size <= storage.numel:
        raise ValueError(f"it is damaged: {name} has another size than its storage")
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if len(held) != storage.numel * raw.itemsize or tensor.offset + last >= storage.numel:
        raise ValueError(f"it is damaged: {name} lies beyond its storage")
    values = np.frombuffer(held, raw)[tensor.offset :]
    strides = [stride * raw.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(values, tensor.shape, strides, writeable=False)
    return np.array(view, raw.newbyteorder("="), order="C").view(storage.dtype)
