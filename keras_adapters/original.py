"""What an encoder was before a method was applied to it, and what it is since."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_adapters.bindings import host_of
from keras_adapters.fingerprint import Base, digest
from keras_adapters.methods.method import Method
from keras_adapters.variables import encoder_parts, encoder_variables, own_variables, switch


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
    """What marks an encoder that a method was applied to; mixed into its class."""

    method: Method
    original: Original

    @property
    def adapter_config(self) -> Any:
        """The settings of what is inserted, or None."""
        return self.method.insertion


def is_adapted(encoder: Any) -> bool:
    """Says whether a method was applied to an encoder."""
    return isinstance(encoder, Adapted)


def method_of(encoder: Any) -> Method | None:
    """Returns the method that was applied to an encoder, or None."""
    return encoder.method if is_adapted(encoder) else None


def insertion_of(encoder: Any) -> Any:
    """Returns the settings of what was inserted into an encoder, or None."""
    return encoder.method.insertion if is_adapted(encoder) else None


def original_of(encoder: Any) -> Original:
    """Returns what a built encoder is now, or was before a method was applied to it."""
    if is_adapted(encoder):
        return encoder.original
    norms = host_of(encoder).norms(encoder)
    ids = {id(variable) for norm in norms for variable in norm.weights}
    named = encoder_variables(encoder).items()
    values = {name: variable.numpy() for name, variable in named if id(variable) in ids}
    return Original(values, frozen_parts(encoder), base_of(encoder))


def base_of(encoder: Any) -> Base | None:
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


def digests_of(variables: Mapping[str, Any]) -> dict[str, str]:
    """Returns the digest of each variable's value, in the same order."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        digests = pool.map(lambda variable: digest(variable.numpy()), variables.values())
        return dict(zip(variables, digests, strict=True))


def changed_in(variables: Mapping[str, Any], base: Base) -> list[str]:
    """Returns the names of the variables whose values are not a base's."""
    digests = digests_of(variables)
    return [name for name, found in digests.items() if found != base.digests[name]]


def frozen_parts(encoder: Any) -> tuple[str, ...]:
    """Returns the prefixes of the parts of a built encoder that do not train."""
    trained = {id(variable) for variable in encoder.trainable_variables}
    return tuple(
        prefix
        for prefix, layer in encoder_parts(encoder)
        if (held := own_variables(layer) or layer.weights)
        and not any(id(variable) in trained for variable in held)
    )


def freeze_parts(encoder: Any, prefixes: Iterable[str]) -> None:
    """Makes an encoder trainable but for the parts of these prefixes."""
    prefixes = set(prefixes)
    encoder.trainable = True
    # A part that lies in another comes after it.
    for prefix, layer in encoder_parts(encoder):
        switch(layer, encoder, prefix not in prefixes)
