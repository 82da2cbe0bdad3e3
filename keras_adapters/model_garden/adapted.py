"""The classes of encoders that a method was applied to: their config tells of it.

An encoder becomes one in place, by a swap of its class. So saving and reloading keeps what
was inserted, and what is frozen.
"""

from __future__ import annotations

import json
import types
import warnings
from collections.abc import Mapping
from typing import Any

import tf_keras

from keras_adapters.fingerprint import Base
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.model_garden.hosts.host import Host
from keras_adapters.model_garden.hosts.table import HOSTS, host_of
from keras_adapters.model_garden.insertion import insert
from keras_adapters.model_garden.wrapping import set_class
from keras_adapters.original import Adapted, Original, freeze_parts, frozen_parts, is_adapted
from keras_adapters.planning import plan
from keras_adapters.variables import encoder_variables

PACKAGE = "keras_adapters"


class AdaptedEncoder(Adapted):
    """What an encoder gains with a method: a config that tells of it."""

    _to_freeze: tuple[str, ...] | None = None

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
    bases = (AdaptedEncoder, host.encoder_class)
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
