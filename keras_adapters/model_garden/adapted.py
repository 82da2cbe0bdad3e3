"""The classes of encoders that a method was applied to: their config tells of it.

An encoder becomes one in place, by a swap of its class. So saving and reloading keeps what
was inserted, and what is frozen.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import types
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from keras_adapters.fingerprint import Base, digest
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.model_garden.hosts.host import Host
from keras_adapters.model_garden.hosts.table import HOSTS, host_of
from keras_adapters.model_garden.insertion import insert, plan
from keras_adapters.model_garden.variables import encoder_parts, encoder_variables, own_variables
from keras_adapters.model_garden.wrapping import set_class

PACKAGE = "keras_adapters"


@dataclasses.dataclass(frozen=True)
class Original:
    """What an encoder was before a method was applied to it.

    Args:
      norms: the values of its LayerNorms, by the names of `encoder_variables`; None where
        they are not known any more.
      frozen: the prefixes of its frozen parts.
      base: what tells it from other pretrained encoders; None where that is not known any more.
    """

    norms: Mapping[str, np.ndarray] | None
    frozen: tuple[str, ...]
    base: Base | None


class Adapted:
    """What an encoder gains with a method: a config that tells of it."""

    method: Method
    original: Original
    _to_freeze: tuple[str, ...] | None = None

    @property
    def adapter_config(self) -> Any:
        """The settings of what is inserted, or None."""
        return self.method.insertion

    def get_config(self) -> dict[str, Any]:
        """Returns the encoder's own config, made plain, the method and what is frozen."""
        config = host_of(self).to_plain(self, super().get_config())
        config |= {"method": self.method.to_json(), "frozen": list(frozen_parts(self))}
        base = self.original.base
        return config if base is None else {**config, "base": base.to_json()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Any:
        """Makes the encoder, inserts what its method inserts and freezes what was frozen."""
        config = dict(config)
        frozen = tuple(config.pop("frozen", ()))
        base = config.pop("base", None)
        base = None if base is None else Base.from_json_dict(json.loads(base))
        # Before methods were told, only adapters were.
        adapters = config.pop("adapter_config", None)
        method = config.pop("method", None)
        if method is not None:
            method = Method.from_json(method)
        else:
            method = Method(AdapterConfig.from_json(adapters), trains="all")
        host = _HOST_OF[cls]
        encoder = host.encoder_class(**host.from_plain(config))
        if not host.is_built(encoder):
            encoder(encoder.inputs)
        if method.insertion is not None:
            insert(plan(encoder, method.insertion))
        become_adapted(encoder, method, Original(None, (), base))
        freeze_parts(encoder, frozen)
        object.__setattr__(encoder, "_to_freeze", frozen)
        return encoder

    def get_embedding_table(self) -> Any:
        """Returns the word embeddings, and warns of a head that would train them.

        A masked language model's layer takes them for a weight of its own.
        """
        table = super().get_embedding_table()
        if not any(variable is table for variable in self.trainable_variables):
            warnings.warn(
                f"the word embeddings of {self.name!r} are frozen, but a layer that holds them "
                "trains them all the same: call `keras_adapters.set_trainable(model, encoder, "
                "method)` on the model that is made, or reloaded, before it is compiled",
                stacklevel=2,
            )
        return table

    def finalize_state(self) -> None:
        """Freezes again what was frozen when the encoder was saved.

        The reader of SavedModels makes all layers of a reloaded one trainable, then calls this.
        """
        super().finalize_state()
        if self._to_freeze:
            freeze_parts(self, self._to_freeze)
        object.__setattr__(self, "_to_freeze", None)


class _SavesByName:
    """For hosts whose variables Keras would leave out of `.keras` files without a word."""

    def save_own_variables(self, store: Any) -> None:
        """Saves all of the encoder's variables, by name."""
        for name, variable in encoder_variables(self).items():
            store[name] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved."""
        for name, variable in encoder_variables(self).items():
            variable.assign(store[name])


def _make_class(host: Host) -> type:
    bases = (Adapted, host.encoder_class)
    if not host.keras_finds_variables:
        bases = (_SavesByName, *bases)
    name = f"Adapted{host.encoder_class.__name__}"
    text = f"A `{host.encoder_class.__name__}` that a method was applied to, in place."
    made = types.new_class(name, bases, {}, lambda body: body.update(__doc__=text))
    made.__module__ = __name__
    return tf_keras.utils.register_keras_serializable(package=PACKAGE)(made)


ADAPTED = {host.encoder_class: _make_class(host) for host in HOSTS.values()}
# Each by its name too, as a class that is written out here would be.
globals().update({cls.__name__: cls for cls in ADAPTED.values()})
_HOST_OF = {adapted: HOSTS[plain] for plain, adapted in ADAPTED.items()}


def is_adapted(encoder: tf_keras.layers.Layer) -> bool:
    """Says whether a method was applied to an encoder."""
    return isinstance(encoder, Adapted)


def method_of(encoder: tf_keras.layers.Layer) -> Method | None:
    """Returns the method that was applied to an encoder, or None."""
    return encoder.method if is_adapted(encoder) else None


def insertion_of(encoder: tf_keras.layers.Layer) -> Any:
    """Returns the settings of what was inserted into an encoder, or None."""
    return encoder.method.insertion if is_adapted(encoder) else None


def original_of(encoder: tf_keras.layers.Layer) -> Original:
    """Returns what a built encoder is now, or was before a method was applied to it."""
    if is_adapted(encoder):
        return encoder.original
    norms = host_of(encoder).norms(encoder)
    ids = {id(variable) for norm in norms for variable in norm.weights}
    named = encoder_variables(encoder).items()
    values = {name: variable.numpy() for name, variable in named if id(variable) in ids}
    return Original(values, frozen_parts(encoder), base_of(encoder))


def base_of(encoder: tf_keras.layers.Layer) -> Base | None:
    """Returns what tells a built encoder's pretrained base from others.

    It is the base as it was before a method was applied: the same for every method, precision
    and format that it came in.

    Returns:
      The base; `None` of an adapted encoder that was made from a config which does not tell.

    Raises:
      ValueError: the encoder is of another class, or is not built.
    """
    if is_adapted(encoder):
        return encoder.original.base
    return Base(host_of(encoder).architecture(encoder), digests_of(encoder_variables(encoder)))


def digests_of(variables: Mapping[str, tf.Variable]) -> dict[str, str]:
    """Returns the digest of each variable's value, in the same order."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        digests = pool.map(lambda variable: digest(variable.numpy()), variables.values())
        return dict(zip(variables, digests, strict=True))


def changed_in(variables: Mapping[str, tf.Variable], base: Base) -> list[str]:
    """Returns the names of the variables whose values are not a base's."""
    digests = digests_of(variables)
    return [name for name, found in digests.items() if found != base.digests[name]]


def become_adapted(encoder: tf_keras.layers.Layer, method: Method, original: Original) -> None:
    """Makes an encoder one whose config tells of a method, or tells of another from now on."""
    if not is_adapted(encoder):
        set_class(encoder, ADAPTED[type(encoder)])
    # Past Keras, which would track the values inside.
    for name, value in (("method", method), ("original", original), ("_to_freeze", None)):
        object.__setattr__(encoder, name, value)


def become_plain(encoder: tf_keras.layers.Layer) -> None:
    """Undoes `become_adapted`; what was inserted must be out."""
    for name in ("method", "original", "_to_freeze"):
        object.__delattr__(encoder, name)
    set_class(encoder, _HOST_OF[type(encoder)].encoder_class)


def frozen_parts(encoder: tf_keras.layers.Layer) -> tuple[str, ...]:
    """Returns the prefixes of the parts of a built encoder that do not train."""
    trained = {id(variable) for variable in encoder.trainable_variables}
    return tuple(
        prefix
        for prefix, layer in encoder_parts(encoder)
        if (held := own_variables(layer) or layer.weights)
        and not any(id(variable) in trained for variable in held)
    )


def freeze_parts(encoder: tf_keras.layers.Layer, prefixes: Iterable[str]) -> None:
    """Makes an encoder trainable but for the parts of these prefixes."""
    prefixes = set(prefixes)
    encoder.trainable = True
    # A part that lies in another comes after it.
    for prefix, layer in encoder_parts(encoder):
        layer.trainable = prefix not in prefixes
