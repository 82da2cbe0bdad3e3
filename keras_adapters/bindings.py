"""Which Keras an encoder is of: the module that binds what stands here to it.

`model_garden.binding` and `keras_hub.binding` have the same names, each for its Keras. They are
imported when an encoder of theirs is met, so that neither Keras costs who does not use it.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

# By the name of its Keras; the package tells them when it is imported.
_HOMES: dict[str, str] = {}


def bind(keras: str, home: str) -> None:
    """Tells which module binds the package to a Keras.

    Args:
      keras: that Keras's own name.
      home: the module's.
    """
    _HOMES[keras] = home


def binding_of(layer: Any, argument: str = "encoder") -> types.ModuleType:
    """Returns the binding of the Keras that a layer or a model is of.

    Args:
      layer: a layer.
      argument: what it is called in the error.

    Raises:
      ValueError: it is of none.
    """
    for name, home in _HOMES.items():
        # Who has made a layer has imported its Keras.
        if name in sys.modules and isinstance(layer, sys.modules[name].layers.Layer):
            return importlib.import_module(home)
    raise ValueError(
        f"`{argument}` must be a model of tf_keras or of Keras 3. Received: {type(layer).__name__}"
    )


def host_of(encoder: Any) -> Any:
    """Returns the `host.Host` that knows an encoder, adapted or not.

    Raises:
      ValueError: the encoder is of no class that is known, or of blocks in which its host knows
        no place.
    """
    return binding_of(encoder).host_of(encoder)
