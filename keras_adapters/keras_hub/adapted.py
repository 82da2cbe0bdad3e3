"""The class of models that a method was applied to: their config and weight files tell of it.

A model becomes one in place, by a swap of its class. So saving and reloading keeps what was
inserted and what is frozen, and a plain model refuses a file of weights that has adapters.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_adapters.fingerprint import Base
from keras_adapters.host import inner_layers
from keras_adapters.keras_hub.hosting import choose_sites, sites_of
from keras_adapters.keras_hub.insertion import insert
from keras_adapters.keras_hub.layers import is_inserted
from keras_adapters.keras_hub.wrapping import become_again, derived, register_as, set_class
from keras_adapters.methods.method import Method
from keras_adapters.original import Adapted, Original, freeze_parts, frozen_parts
from keras_adapters.planning import plan

NAME = "keras_adapters>AdaptedModel"
_MARK = "keras_adapters"  # In a file of weights, beside the model's own variables.


class AdaptedModel(Adapted):
    """What a model gains with a method: a config and weight files that tell of it."""

    # Whether the file of weights that is being read is one without adapters.
    _reads_plain = False

    def get_config(self) -> dict[str, Any]:
        """Returns the plain model's own description, the method, the sites and what is frozen."""
        base = self.original.base
        with _as_plain(self):
            plain = keras.saving.serialize_keras_object(self)
        plain.pop("compile_config", None)
        return {
            "model": plain,
            "method": self.method.to_json(),
            "sites": sites_of(self),
            "frozen": list(frozen_parts(self)),
            "base": None if base is None else base.to_json(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Any:
        """Makes the model, inserts what its method inserts and freezes what was frozen."""
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        method = Method.from_json(config["method"])
        choose_sites(model, config["sites"])
        if method.insertion is not None:
            insert(plan(model, method.insertion))
        base = config["base"]
        base = None if base is None else Base.from_json_dict(json.loads(base))
        become_adapted(model, method, Original(None, (), base))
        freeze_parts(model, config["frozen"])
        return model

    def save_own_variables(self, store: Any) -> None:
        """Saves the model's own variables, and the method, which a plain model cannot read."""
        super().save_own_variables(store)
        store[_MARK] = np.frombuffer(self.method.to_json().encode(), "uint8")

    def load_own_variables(self, store: Any) -> None:
        """Loads the model's own variables; a file without adapters leaves those that are there.

        Raises:
          ValueError: the file's adapters are of other settings.
        """
        values = {name: store[name] for name in list(store.keys())}
        mark = values.pop(_MARK, None)
        object.__setattr__(self, "_reads_plain", mark is None)
        if mark is not None:
            inside = Method.from_json(bytes(np.asarray(mark, "uint8")).decode()).insertion
            if inside != self.method.insertion:
                raise ValueError(
                    f"the file of weights is of a model with other adapters than {self.name!r}."
                    f"\n  model: {self.method.insertion}\n  file:  {inside}"
                )
        super().load_own_variables(values)

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        """Raises a ValueError: LoRA would freeze the adapters and go unsaved with them."""
        raise ValueError(
            f"`enable_lora` must be called on a plain model: {self.name!r} is adapted, and what "
            "LoRA adds is no part of its adapter. Take the adapters out with `remove_adapter`"
        )

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Raises a ValueError: the base would not be the adapters' base any more."""
        raise ValueError(
            f"`quantize` must be called on a plain model: {self.name!r} is adapted, and its "
            "adapters fit the base as it is. Take them out with `remove_adapter`"
        )

    def save_to_preset(self, *args: Any, **kwargs: Any) -> None:
        """Raises a ValueError: a preset holds a plain backbone."""
        raise ValueError(
            f"a preset holds a plain backbone, and {self.name!r} is adapted. Save the adapter with "
            "`keras_adapters.save_adapter`, or the whole model with `model.save`"
        )


keras.saving.register_keras_serializable("keras_adapters")(AdaptedModel)


@functools.cache
def _adapted(plain: type) -> type:
    made = derived(AdaptedModel, plain)
    made.__module__ = __name__
    register_as(made, NAME, AdaptedModel)
    return made


@contextlib.contextmanager
def _as_plain(model: keras.Model) -> Iterator[None]:
    """Lets Keras describe an adapted model as the plain one that it was."""
    adapted = type(model)
    set_class(model, adapted.plain_class)
    try:
        yield
    finally:
        set_class(model, adapted)


def become_adapted(encoder: keras.Model, method: Method, original: Original) -> None:
    """Makes a model one whose config tells of a method, or tells of another from now on."""
    if not isinstance(encoder, AdaptedModel):
        set_class(encoder, _adapted(type(encoder)))
    # Past Keras, which would track the values inside.
    object.__setattr__(encoder, "method", method)
    object.__setattr__(encoder, "original", original)
    for layer in inner_layers(encoder):
        if is_inserted(layer):
            for owner in (layer, *inner_layers(layer)):
                _guard(owner, encoder)


def _guard(layer: keras.layers.Layer, encoder: keras.Model) -> None:
    """Lets an inserted layer keep its values where a plain model's file is read or quantised."""

    def load_own_variables(store: Any) -> None:
        if not (encoder._reads_plain and not len(store.keys())):
            type(layer).load_own_variables(layer, store)

    def quantize(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("adapters stay float")

    object.__setattr__(layer, "load_own_variables", load_own_variables)
    object.__setattr__(layer, "quantize", quantize)


def become_plain(encoder: keras.Model) -> None:
    """Undoes `become_adapted`; what was inserted must be out."""
    for name in ("method", "original"):
        object.__delattr__(encoder, name)
    vars(encoder).pop("_reads_plain", None)
    choose_sites(encoder, None)
    become_again(encoder)
