"""Adapters for parameter-efficient transfer learning, for TensorFlow and Keras.

Names are imported on first use, so that `AdapterConfig` costs no Keras, the Keras 3 layer
costs no TensorFlow when Keras runs on another backend, and neither needs TensorFlow Models.
"""

import importlib

from keras_adapters.registration import register

_HOMES = {
    "AdapterConfig": "keras_adapters.methods.bottleneck",
    "AdapterFileError": "keras_adapters.adapter_file",
    "BertPreprocessor": "keras_adapters.preprocessor",
    "BottleneckAdapter": "keras_adapters.keras3",
    "MultiTaskModel": "keras_adapters.multi_task",
    "METHODS": "keras_adapters.methods.method",
    "Method": "keras_adapters.methods.method",
    "adapt": "keras_adapters.freezing",
    "adapter_summary": "keras_adapters.summary",
    "add_adapters": "keras_adapters.splice",
    "count_parameters": "keras_adapters.summary",
    "load_adapter": "keras_adapters.saving",
    "load_encoder": "keras_adapters.converters.load",
    "read_metadata": "keras_adapters.adapter_file",
    "remove_adapter": "keras_adapters.saving",
    "save_adapter": "keras_adapters.saving",
    "set_trainable": "keras_adapters.freezing",
}
# Modules, by their names in this package.
_MODULES = ("adapter_file", "adapter_hub", "converters", "keras_hub", "methods", "model_garden")
__all__ = sorted([*_HOMES, *_MODULES])

# Files that hold classes of this package load once it is imported.
register()


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
