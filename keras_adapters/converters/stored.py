"""Tensors in files, of which no more than the header was read."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

# The types of weights that are read, and the bytes that one number takes.
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file.

    Args:
      place: the file and the tensor's name in it, for errors.
      shape: its sizes.
      dtype: its type, by NumPy's name if it has one.
      read: reads its values, of `shape`.
    """

    place: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    def transposed(self) -> StoredTensor:
        """Returns the tensor with its axes in reverse."""
        return dataclasses.replace(self, shape=self.shape[::-1], read=lambda: self.read().T)

    def check_type(self) -> None:
        """Raises ValueError unless the values are of a type that weights have."""
        if self.dtype not in _BYTES:
            raise ValueError(
                f"{self.place} must be of {', '.join(_BYTES)}, the types of weights that are "
                f"read. Received: {self.dtype}"
            )

    def bytes(self) -> int:
        """Returns how many bytes the values take in the file."""
        return math.prod(self.shape) * _BYTES[self.dtype]

    def values(self) -> np.ndarray:
        """Reads the values, `<float32>` of `shape`.

        Raises:
          ValueError: they hold NaN or infinity, or cannot be read.
        """
        values = self.read().astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(
                f"{self.place} holds NaN or infinity. Such weights compute nothing: take another "
                "checkpoint, or the same one from its source again"
            )
        return values


def check_readable(files: Iterable[pathlib.Path]) -> None:
    """Raises the OSError that says why a file cannot be read, if one cannot."""
    for file in files:
        with file.open("rb"):
            pass


@contextlib.contextmanager
def damaged(source: object) -> Iterator[None]:
    """Raises one ValueError for whatever a library's reader makes of a damaged file."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{source} is damaged, a file may be cut short: {error}") from error
