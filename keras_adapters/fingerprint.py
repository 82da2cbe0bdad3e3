"""What tells one pretrained encoder from another, in whatever format or precision it came."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_adapters.methods.checks import shown

_SHOWN = 8


def digest(value: np.ndarray) -> str:
    """Returns the SHA-256 of an array's shape and float32 values, in hex."""
    value = np.asarray(value)
    hashed = hashlib.sha256(f"{list(value.shape)}".encode())
    hashed.update(np.ascontiguousarray(value, dtype="<f4").data)
    return hashed.hexdigest()


def digest_all(values: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of arrays' names, shapes and float32 values, in hex, in any order."""
    hashed = hashlib.sha256()
    for name in sorted(values):
        value = np.ascontiguousarray(values[name], dtype="<f4")
        hashed.update(f"{name}{list(value.shape)}".encode())
        hashed.update(value.data)
    return hashed.hexdigest()


@dataclasses.dataclass(frozen=True)
class Base:
    """A pretrained encoder as it was before training.

    Args:
      architecture: what its variables do not tell of the function that it computes, in JSON's
        types, such as `{"family": "bert", "heads": 12, "activation": "gelu"}`.
      digests: the `digest` of each of its variables, by stable names.
    """

    architecture: Mapping[str, Any]
    digests: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """One SHA-256 of all, in hex; the order of the mappings does not matter."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Returns the base as a JSON object."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json_dict(cls, value: Any) -> Base:
        """Makes a base from the object that `to_json` writes.

        Raises:
          ValueError: it is not such an object.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(value, dict) or set(value) != names:
            raise ValueError(f"a base is an object with the keys {sorted(names)}")
        if not isinstance(value["architecture"], dict):
            raise ValueError("a base's `architecture` is an object")
        digests = value["digests"]
        if not (isinstance(digests, dict) and digests and all(map(_is_digest, digests.values()))):
            raise ValueError("a base's `digests` are an object of SHA-256s in hex")
        return cls(value["architecture"], digests)

    def differences(self, other: Base) -> list[str]:
        """Says what of another base is not as it is here, a line each; nothing if all is."""
        lines = [
            f"{shown(name)[1:-1]}: {shown(mine)}, not {shown(theirs)}"
            for name, mine, theirs in _compare(self.architecture, other.architecture)
        ]
        mine, theirs = set(self.digests), set(other.digests)
        changed = [n for n in self.digests if n in theirs and self.digests[n] != other.digests[n]]
        for what, names in (
            ("has no", sorted(theirs - mine)),
            ("alone has", sorted(mine - theirs)),
            ("has other values or shapes of", changed),
        ):
            if names:
                rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                lines.append(f"{what} {', '.join(shown(n)[1:-1] for n in names[:_SHOWN])}{rest}")
        return lines


def _compare(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = sorted({*mine, *theirs})
    pairs = [(name, mine.get(name), theirs.get(name)) for name in names]
    return [(name, first, second) for name, first, second in pairs if first != second]


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
