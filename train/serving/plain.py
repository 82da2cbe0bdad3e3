"""Arrays as values of JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def plain(array: np.ndarray) -> Any:
    """Returns an array as nested lists of what JSON knows.

    Floats have the digits that tell them from their neighbours of the same type, no more;
    what is not finite is None, for JSON has no word for it. Bytes are texts, what of them is
    not UTF-8 replaced.
    """
    if array.dtype.kind in "SOU":
        return _each(array.tolist(), lambda value: value.decode("utf-8", "replace"))
    if array.dtype.kind != "f":
        return array.tolist()
    values = array.astype(str).astype(np.float64).tolist()
    if np.isfinite(array).all():
        return values
    return _each(values, lambda value: value if math.isfinite(value) else None)


def _each(values: Any, spell: Callable[[Any], Any]) -> Any:
    return [_each(value, spell) for value in values] if isinstance(values, list) else spell(values)
