"""AdapterHub's format, in and out: adapters of the `adapters` package; needs no TensorFlow."""

from keras_adapters.adapter_hub.files import is_adapter_hub
from keras_adapters.adapter_hub.reading import read_adapter_hub
from keras_adapters.adapter_hub.writing import write_adapter_hub

__all__ = ["is_adapter_hub", "read_adapter_hub", "write_adapter_hub"]
