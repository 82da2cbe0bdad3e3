"""A name for an activation by what it computes, whatever object computes it.

One function has many forms, such as `"gelu"`, a lambda, a `functools.partial` or a layer,
and one name has several functions: `"gelu"` is by erf in Keras, by tanh in Model Garden.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Function = Callable[[np.ndarray], Any]

# Where functions are told apart: densely around zero, and far out, where some are clipped.
_GRID = np.concatenate([np.linspace(-8, 8, 257), [-50, -20, -12, 12, 20, 50]]).astype("float32")
# Where the others are described: at odd numbers, where hardly a value lies between two
# roundings.
_POINTS = (16 * (np.arange(1, 33) * math.sqrt(5) / 2 % 1) - 8).astype("float32")
# float32 is far closer; gelu's two forms are 5e-4 apart.
_TOLERANCE = 1e-5


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(x))


KNOWN: Mapping[str, Function] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "swish": lambda x: x * _sigmoid(x),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "elu": _elu,
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * _elu(x)),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.log1p(np.exp(x)),
}
_EXPECTED = {name: function(_GRID.astype("float64")) for name, function in KNOWN.items()}


def activation_name(function: Function) -> str:
    """Returns the name of an activation, the same for all that compute the same.

    Args:
      function: takes `<float32>[n]` and returns as many, one for each.

    Returns:
      One of the names of a short table, or `function` and a digest of some of its values,
      rounded to a thousandth, as machines differ in the last bits.

    Raises:
      ValueError: the function does not return as many numbers as it takes.
    """
    values = _values(function, _GRID)
    for name, expected in _EXPECTED.items():
        if np.allclose(values, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
            return name
    text = " ".join(map(_rounded, _values(function, _POINTS)))
    return f"function {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _values(function: Function, x: np.ndarray) -> np.ndarray:
    try:
        values = np.asarray(function(x), "float64")
    # Whatever a function that was given from outside raises.
    except Exception as error:
        raise ValueError(f"an activation must be a function of one tensor: {error}") from error
    if values.shape != x.shape:
        raise ValueError(
            "an activation must return a tensor of its input's shape. Received: "
            f"{list(values.shape)} of {list(x.shape)}"
        )
    return values


def _rounded(value: float) -> str:
    # Adding zero makes one of its two signs.
    return f"{value:.3e}" if abs(value) >= 1 else f"{round(value, 3) + 0.0:.3f}"
