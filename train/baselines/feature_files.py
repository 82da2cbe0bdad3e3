"""Arrays on disk that are mapped into memory, and whose damage is seen."""

from __future__ import annotations

import hashlib
import io
import os
import pathlib

import numpy as np

from keras_adapters.atomic import write_bytes

_DIGEST_BYTES = hashlib.sha256().digest_size


class DamagedArrayError(ValueError):
    """A file's bytes are not those that were written."""


def write_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes an array, whole or not at all.

    The file is one of NumPy's `.npy`, of version 1 or later, with the SHA-256 of all that
    behind it; NumPy reads as much as the header says, and so takes no notice.

    Args:
      path: where; the folder is made too.
      array: of any shape, of a type of NumPy's own.

    Raises:
      OSError: it cannot be written; what stood there is untouched.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    write_bytes(path, content + hashlib.sha256(content).digest())


def open_array(path: str | os.PathLike) -> np.ndarray:
    """Maps what `write_array` wrote into memory, once all of it is compared with its checksum.

    Raises:
      DamagedArrayError: it is not what was written.
      OSError: the file is not there (`FileNotFoundError`) or cannot be read.
    """
    path = pathlib.Path(path)
    content = path.read_bytes()
    written, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(written).digest() != digest:
        raise DamagedArrayError(f"{path} is damaged: its checksum is not that of its contents")
    return np.load(path, mmap_mode="r", allow_pickle=False)
