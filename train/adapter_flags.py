"""The flags that say what adapters are: one for each field of `AdapterConfig`."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from keras_adapters.methods.bottleneck import AdapterConfig

_PREFIX = "adapter_"
_FIELDS = {field.name: field.default for field in dataclasses.fields(AdapterConfig)}
ADAPTER_FLAGS = tuple(_PREFIX + name for name in _FIELDS)
# What a name can be without TensorFlow to ask: those of `tf_keras.activations`, and the one more.
ACTIVATIONS = (
    *("elu", "exponential", "gelu", "gelu_tanh", "hard_sigmoid", "leaky_relu", "linear"),
    *("log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus"),
    *("softsign", "swish", "tanh"),
)


def adapter_config(settings: Mapping[str, Any], size: int) -> AdapterConfig:
    """Makes the settings of adapters from flags.

    Args:
      settings: values by flag, of which `None` are left out; texts as a command line has them
        are read.
      size: the width where neither `adapter_size` nor `adapter_reduction_factor` is given.

    Raises:
      ValueError: a value is out of its range, or two contradict each other; the text names the
        flags.
    """
    given = {
        name.removeprefix(_PREFIX): _read(value)
        for name, value in settings.items()
        if value is not None
    }
    if isinstance(given.get("size"), tuple) and len(given["size"]) == 1:
        (given["size"],) = given["size"]
    if not {"size", "reduction_factor"} & set(given):
        given["size"] = size
    activation = given.get("activation")
    if isinstance(activation, str) and ">" not in activation and activation not in ACTIVATIONS:
        raise ValueError(
            f"--adapter_activation must be one of {', '.join(ACTIVATIONS)}, or a registered "
            f"function's name, `package>name`. Received: {activation!r}"
        )
    try:
        return AdapterConfig(**given)
    except ValueError as error:
        raise ValueError(as_flags(str(error))) from error


def as_flags(text: str) -> str:
    """Returns an error's text with the fields of `AdapterConfig` named as their flags."""
    names = "|".join(_FIELDS)
    return re.sub(rf"`({names})`", rf"--{_PREFIX}\1", text)


def label(config: AdapterConfig) -> str:
    """Returns a short name of settings, that differs between settings, for names of folders.

    It is the size, and whatever is not as it is by default, as in `64_form-parallel_scale-4`.
    """
    parts = []
    for name, default in _FIELDS.items():
        value = getattr(config, name)
        if name == "size":
            parts += [] if value is None else [_text(value)]
        elif value != default:
            parts.append(f"{name}-{_text(value)}")
    return "_".join(parts)


def _read(value: Any) -> Any:
    """Returns a flag's value with the numbers in its texts read."""
    if isinstance(value, list):
        return tuple(map(_read, value))
    if isinstance(value, str):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(value)
    return value


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_text, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w.+]", "-", text)
