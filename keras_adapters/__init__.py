"""Adapters for parameter-efficient transfer learning, for TensorFlow and Keras.

Names are imported on first use, so that `AdapterConfig` costs no Keras and the Keras 3
layer costs no TensorFlow when Keras runs on another backend.
"""

import importlib

_HOMES = {
    "AdapterConfig": "keras_adapters.methods.bottleneck",
    "BottleneckAdapter": "keras_adapters.keras3",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
