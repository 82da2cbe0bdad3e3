"""What stands at the top of the package, bound to `tf_keras` and tf-models-official."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf
import tf_keras

from keras_adapters.host import inner_layers, names_of
from keras_adapters.model_garden.adapted import ADAPTED, become_adapted, become_plain
from keras_adapters.model_garden.hosts.table import HOSTS, host_of
from keras_adapters.model_garden.insertion import insert, make_at, take_out
from keras_adapters.model_garden.layers import is_inserted, make_layer

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
PACKAGES = ("keras-adapters", "tensorflow", "tf-keras", "tf-models-official")


def check_class(encoder: tf_keras.layers.Layer) -> None:
    """Raises a ValueError if a plain encoder is of a class that cannot be adapted."""
    if type(encoder) not in ADAPTED:
        raise ValueError(
            f"`encoder` must be one of these tf-models-official encoders: {names_of(HOSTS)}, "
            f"not of a class derived from one. Received: {type(encoder).__name__}"
        )


def check_not_compiled(model: tf_keras.layers.Layer) -> None:
    """Raises a ValueError if a model or one inside of it is compiled already."""
    for inner in (model, *model.submodules):
        if getattr(inner, "_is_compiled", False):
            raise ValueError(
                "`model` must not be compiled yet, for it would go on training what it did: "
                "compile it afterwards. A reloaded model is not with `load_model(path, "
                "compile=False)`; of one that is, `tf_keras.Model(model.input, model.output)` "
                f"makes another that is not. Received: {inner.name!r}, compiled"
            )


def build(encoder: tf_keras.layers.Layer) -> None:
    """Gives an encoder its variables, if it has none yet."""
    if not host_of(encoder).is_built(encoder):
        encoder(encoder.inputs)


def trace_anew(model: tf_keras.layers.Layer) -> None:
    """Makes a model, and those inside of it, forget what they have traced."""
    for inner in (model, *model.submodules):
        if isinstance(inner, tf_keras.Model):
            inner.predict_function = inner.test_function = inner.train_function = None
            inner.train_tf_function = None


def choose_sites(encoder: tf_keras.layers.Layer, sites: object) -> None:
    """Raises a ValueError: hosts alone know the sites of their encoders here."""
    if sites is not None:
        raise ValueError(
            "`sites` are of Keras 3 models; those of tf-models-official's encoders are known. "
            f"Received: sites={sites!r} with a {type(encoder).__name__}"
        )


def sites_of(encoder: tf_keras.layers.Layer) -> None:
    """Returns None: no sites can be named here."""
    return None


def is_encoder(layer: tf_keras.layers.Layer) -> bool:
    """Says whether a layer is an encoder, known or not."""
    return hasattr(layer, "get_embedding_table")


def state_of(model: tf_keras.layers.Layer) -> list[tf.Variable]:
    """Returns a model's variables but for those of metrics."""
    metrics = [part for part in model.submodules if isinstance(part, tf_keras.metrics.Metric)]
    known = {id(variable) for metric in metrics for variable in metric.variables}
    return [variable for variable in model.variables if id(variable) not in known]


def path_of(model: tf_keras.layers.Layer, variable: tf.Variable) -> str:
    """Returns the names of the layers that hold a variable, and its own, divided by `/`."""
    return variable.name.removesuffix(":0")


@contextlib.contextmanager
def sketching() -> Iterator[None]:
    """Lets layers be built whose variables take no memory, whatever their shapes are."""
    with tf.Graph().as_default():
        yield


def share_trainability(model: tf_keras.Model, encoder: tf_keras.layers.Layer) -> None:
    """Makes layers outside of an encoder treat variables that are its own as it does.

    A masked language model's layer holds the word embeddings as a weight of its own.
    """
    within = {id(layer) for layer in (encoder, *encoder.submodules)}
    inside = {id(variable) for variable in encoder.variables}
    trained = {id(variable) for variable in encoder.trainable_variables}
    for layer in (model, *inner_layers(model)):
        lists = layer._trainable_weights, layer._non_trainable_weights
        if id(layer) in within or not any(id(v) in inside for held in lists for v in held):
            continue
        moved = [v for v in lists[0] if id(v) in inside and id(v) not in trained]
        back = [v for v in lists[1] if id(v) in trained]
        # In place: Keras tracks a list that is set on a layer.
        lists[0][:] = back + _without(lists[0], moved)
        lists[1][:] = moved + _without(lists[1], back)


def _without(held: list[tf.Variable], moved: list[tf.Variable]) -> list[tf.Variable]:
    return [variable for variable in held if not any(variable is other for other in moved)]
