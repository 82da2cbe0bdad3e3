"""What stands at the top of the package, bound to Keras 3."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

import keras
from keras.src.backend.common import global_state

from keras_adapters.host import inner_layers
from keras_adapters.keras_hub.adapted import AdaptedModel, become_adapted, become_plain
from keras_adapters.keras_hub.hosting import check_class, choose_sites, host_of, sites_of
from keras_adapters.keras_hub.insertion import insert, make_at, take_out
from keras_adapters.keras_hub.layers import is_inserted, make_layer

__all__ = [
    "PACKAGES",
    "become_adapted",
    "become_plain",
    "build",
    "check_class",
    "check_not_compiled",
    "choose_sites",
    "host_of",
    "insert",
    "is_encoder",
    "is_inserted",
    "make_at",
    "make_layer",
    "path_of",
    "share_trainability",
    "sites_of",
    "sketching",
    "state_of",
    "take_out",
    "trace_anew",
]

# Whose versions an adapter file tells.
PACKAGES = ("keras-adapters", "keras", "keras-hub")


def check_not_compiled(model: keras.Model) -> None:
    """Raises a ValueError if a model or one inside of it has been trained already.

    One that is only compiled, as KerasHub's tasks are when they are made, finds out what it
    trains when `fit` starts.
    """
    for inner in (model, *inner_layers(model)):
        if isinstance(inner, keras.Model) and _is_trained(inner):
            raise ValueError(
                "`model` must not be compiled and trained yet, for its optimiser goes on with the "
                "variables that it has: call `compile` afterwards. "
                f"`keras.Model(model.inputs, model.outputs)` makes another that is not compiled. "
                f"Received: {inner.name!r}, compiled"
            )


def _is_trained(model: keras.Model) -> bool:
    return bool(model.compiled and model.optimizer is not None and model.optimizer.built)


def build(encoder: keras.Model) -> None:
    """Raises a ValueError unless a model is built: what it takes is not known here."""
    host_of(encoder).check_built(encoder)


def trace_anew(model: keras.Model) -> None:
    """Makes a model, those inside of it and those around it forget what they have traced.

    One around it that was trained already must be compiled again: `fit` says so.
    """
    inside = {id(layer) for layer in (model, *inner_layers(model))}
    for other in gc.get_objects():
        # By its type: some objects have a `__class__` that imports what it names.
        if not issubclass(type(other), keras.Model):
            continue
        if "_layers" not in vars(other):  # It is just being made.
            continue
        if not inside.isdisjoint(map(id, (other, *inner_layers(other)))):
            other.train_function = other.test_function = other.predict_function = None
            if _is_trained(other):
                other.compiled = False


def is_encoder(layer: keras.layers.Layer) -> bool:
    """Says whether a layer is an encoder, known or not."""
    hub = sys.modules.get("keras_hub")
    return isinstance(layer, AdaptedModel) or (
        hub is not None and isinstance(layer, hub.models.Backbone)
    )


def state_of(model: keras.Model) -> list[keras.Variable]:
    """Returns a model's variables but for those of metrics and of random numbers."""
    return list(model.weights)


def path_of(model: keras.Model, variable: keras.Variable) -> str:
    """Returns the names of the layers that hold a variable, and its own, divided by `/`."""
    return variable.path


@contextlib.contextmanager
def sketching() -> Iterator[None]:
    """Lets layers be built whose variables take no memory, whatever their shapes are."""
    waiting = list(global_state.get_global_attribute("uninitialized_variables", []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        # Those that were made here would take memory when the next scope ends.
        global_state.set_global_attribute("uninitialized_variables", waiting)


def share_trainability(model: keras.Model, encoder: keras.Model) -> None:
    """Does nothing: layers around a model hold its layers here, and not their variables."""
