"""What the settings of methods have in common: numbers, sequences and JSON, checked."""

from __future__ import annotations

import contextlib
import json
import math
import numbers
from collections.abc import Collection, Mapping
from typing import Any

_SHOWN = 300  # Characters of a value that an error shows.
_DEEPEST = 100  # Objects and lists in one another; Python's own limit depends on the caller's.


def shown(value: Any) -> str:
    """Returns a value as an error shows it: the start of one that is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of more than some thousands of digits.
        return f"a value of type {type(value).__name__} with too many digits to show"
    except RecursionError:
        return f"a value of type {type(value).__name__} that is nested too deeply to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def whole_number(name: str, value: Any, least: int) -> int:
    """Returns an integer of Python's or NumPy's as Python's.

    Raises:
      ValueError: it is no integer, below `least` or beyond 32 bits.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not least <= value < 2**31:
        raise ValueError(
            f"`{name}` must be an integer of at least {least} and below 2**31. "
            f"Received: {name}={shown(value)}"
        )
    return int(value)


def real_number(name: str, value: Any) -> float:
    """Returns a real number of Python's or NumPy's as a float.

    Raises:
      ValueError: it is no number, or not a finite one.
    """
    number = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # An integer may be beyond all floats.
            number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={shown(value)}")
    return number


def sequence(name: str, values: Any) -> tuple[Any, ...]:
    """Returns a list, a tuple or a range as a tuple.

    Raises:
      ValueError: it is none of them; a set, say, has no order.
    """
    if not isinstance(values, list | tuple | range):
        raise ValueError(f"`{name}` must be a list or a tuple. Received: {name}={shown(values)}")
    return tuple(values)


def distinct(name: str, values: tuple[Any, ...]) -> None:
    """Raises a ValueError if a value is there twice."""
    if len(set(values)) != len(values):
        raise ValueError(f"`{name}` must not repeat a value. Received: {name}={shown(values)}")


def read_json(what: str, text: Any) -> dict[str, Any]:
    """Returns the JSON object in a text.

    Args:
      what: what the object is, for the error.
      text: the text.

    Raises:
      ValueError: the text is not JSON or not an object, it is nested too deeply, or a key in it
        is there twice.
    """
    problem = ""
    found: Any = None
    try:
        if isinstance(text, str):
            found = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
            check_depth(what, found)
    except (ValueError, RecursionError) as error:
        found, problem = None, f" ({error})"
    if not isinstance(found, dict):
        raise ValueError(
            f"{what} is a JSON object, each key at most once. Received: {shown(text)}{problem}"
        )
    return found


def check_depth(what: str, value: Any) -> None:
    """Raises a ValueError if mappings and lists lie in one another too deeply for all readers."""
    level = [value]
    for _ in range(_DEEPEST):
        # Each once: what holds itself twice would have no end of others.
        holders = {id(v): v for v in level if isinstance(v, Mapping | list | tuple)}
        if not holders:
            return
        level = [
            inner
            for v in holders.values()
            for inner in (v.values() if isinstance(v, Mapping) else v)
        ]
    raise ValueError(f"{what} must not be nested more than {_DEEPEST} deep")


def read_object(what: str, text: Any, names: Collection[str]) -> dict[str, Any]:
    """Returns the JSON object in a text, as `read_json` does.

    Args:
      what: what the object is, for the error.
      text: the text.
      names: the keys that it may have.

    Raises:
      ValueError: as `read_json` does, or a key is another.
    """
    found = read_json(what, text)
    if set(found) - set(names):
        raise ValueError(
            f"{what} is a JSON object with the keys {sorted(names)}. Received: {shown(text)}"
        )
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key is there twice: {shown([key for key, _ in pairs])}")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")
