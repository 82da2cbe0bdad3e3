"""What tells one set of pretrained weights from another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def fingerprint(variables: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of variables' names, shapes and float32 values, in hex.

    The order of the mapping does not matter.

    Args:
      variables: by name, variables (of which `numpy()` gives the value) or arrays.
    """
    digest = hashlib.sha256()
    for name in sorted(variables):
        variable = variables[name]
        value = variable.numpy() if hasattr(variable, "numpy") else variable
        value = np.ascontiguousarray(value, dtype="<f4")
        digest.update(f"{name}{list(value.shape)}".encode())
        digest.update(value.data)
    return digest.hexdigest()
