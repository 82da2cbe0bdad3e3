"""Cells of records: texts, and what is copied."""

from __future__ import annotations

import json
import math
from typing import Any


def as_text(value: Any, column: str) -> str:
    """Returns a text; a whole number or a boolean is spelt as in JSON.

    Raises:
      ValueError: the value is none of these, or not UTF-8; the text names the column.
    """
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{column!r} is not UTF-8") from error
    if isinstance(value, int):
        return json.dumps(value)
    if value is None:
        raise ValueError(f"{column!r} is null")
    if not isinstance(value, str):
        raise ValueError(f"{column!r} is no text, but a {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can spell one: "\ud83d".
        raise ValueError(f"{column!r} holds half of a surrogate pair") from error
    return value


def as_json(value: Any) -> Any:
    """Returns a value that is copied, as JSON has it; of another type, its text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return (
        json.dumps(value, default=str, ensure_ascii=False)
        if isinstance(value, list | dict)
        else str(value)
    )
