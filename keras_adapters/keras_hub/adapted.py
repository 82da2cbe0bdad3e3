"""The class of models that a method was applied to: their config tells of it.

A model becomes one in place, by a swap of its class. So saving and reloading keeps what was
inserted and what is frozen.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_adapters.fingerprint import Base
from keras_adapters.keras_hub.guards import told_by_model
from keras_adapters.keras_hub.hosting import choose_sites, sites_of
from keras_adapters.keras_hub.insertion import insert
from keras_adapters.keras_hub.wrapping import become_again, derived, register_as, set_class
from keras_adapters.methods.method import Method
from keras_adapters.original import Adapted, Original, freeze_parts, frozen_parts
from keras_adapters.planning import plan

NAME = "keras_adapters>AdaptedModel"


class AdaptedModel(Adapted):
    """What a model gains with a method: a config that tells of it."""

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
        with told_by_model():
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


def become_plain(encoder: keras.Model) -> None:
    """Undoes `become_adapted`; what was inserted must be out."""
    for name in ("method", "original"):
        object.__delattr__(encoder, name)
    choose_sites(encoder, None)
    become_again(encoder)
