"""What an encoder was before training, held against an adapter and against what it is now.

An adapter is worth something on its own base alone, and its file holds what has changed of that:
so each function here tells what differs, or which LayerNorms have to be kept or put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_adapters.adapter_file import AdapterFile, AdapterFileError
from keras_adapters.bindings import host_of
from keras_adapters.fingerprint import Base, digest_all
from keras_adapters.methods.checks import shown
from keras_adapters.original import base_of, changed_in, is_adapted
from keras_adapters.variables import encoder_variables

_UNKNOWN_BASE = (
    "which pretrained base the encoder {!r} has is not known, for it was made from a config or a "
    "file of an earlier version. Load the pretrained encoder anew"
)


def check_base(adapter: AdapterFile, encoder: Any, base: Base | None = None) -> None:
    """Raises AdapterFileError, which says what differs, if an adapter is another base's.

    Args:
      adapter: an adapter.
      encoder: a built encoder.
      base: `base_of(encoder)`, if it is known already.

    Raises:
      ValueError: the encoder is of another class or not built, or was reloaded adapted from a
        file that does not tell its base.
    """
    if adapter.base is None:
        return _check_old_base(adapter, encoder)
    base = base or base_of(encoder)
    if base is None:
        raise ValueError(_UNKNOWN_BASE.format(encoder.name))
    adapter.check_base(base)
    return None


def _check_old_base(adapter: AdapterFile, encoder: Any) -> None:
    norms = _known_norms(encoder)
    frozen = {
        name: norms[name] if name in norms else variable.numpy()
        for name, variable in encoder_variables(encoder, adapters=False).items()
        if name not in adapter.tensors
    }
    if adapter.frozen_digest != (digest_all(frozen) if frozen else None):
        raise AdapterFileError(
            f"{adapter.source} was trained on other pretrained weights than this encoder holds. "
            f"Load the encoder it was trained on; its metadata says: {shown(adapter.metadata)}"
        )


def _known_norms(encoder: Any) -> Mapping[str, np.ndarray]:
    """Returns what the LayerNorms of an adapted encoder were before, where that is known."""
    return (encoder.original.norms or {}) if is_adapted(encoder) else {}


def known_base(encoder: Any, named: Mapping[str, Any], trained: set[int]) -> Base:
    """Returns the base of an encoder that is to be saved.

    Args:
      encoder: a built encoder.
      named: its variables.
      trained: the ids of those that train.

    Raises:
      ValueError: it trains and no method was applied to it, or it came without its base.
    """
    if not is_adapted(encoder) and any(id(variable) in trained for variable in named.values()):
        raise ValueError(
            "no method was applied to the encoder, so what it was before training is not known. "
            "Call `keras_adapters.adapt(encoder, method)` before training, also to train all of it"
        )
    base = base_of(encoder)
    if base is None:
        raise ValueError(_UNKNOWN_BASE.format(encoder.name))
    return base


def changed_norms(encoder: Any, base: Base, frozen: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the LayerNorms that do not train but are not the base's either.

    Args:
      encoder: a built encoder.
      base: what it was before.
      frozen: its variables that do not train, by stable names.

    Raises:
      ValueError: another of them is not the base's any more.
    """
    if not is_adapted(encoder):
        return {}
    changed = changed_in(frozen, base)
    norms = {id(v) for norm in host_of(encoder).norms(encoder) for v in norm.weights}
    others = [name for name in changed if id(frozen[name]) not in norms]
    if others:
        raise ValueError(
            f"{len(others)} variables of the base are frozen, but not what they were when the "
            f"method was applied: {', '.join(others[:4])}. Load pretrained weights before "
            "`adapt`; to save what was trained by another method, make it trainable again"
        )
    return {name: frozen[name].numpy() for name in changed}


def restored_norms(
    adapter: AdapterFile, encoder: Any, absent: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Returns the values of the base's LayerNorms that a file does not hold.

    Args:
      adapter: an adapter of the encoder's base, see `check_base`.
      encoder: a built encoder, plain or adapted.
      absent: the variables of the base, by stable names, that the file does not hold.

    Raises:
      AdapterFileError: another variable that it does not hold is not the base's any more.
    """
    known = _known_norms(encoder)
    others = {n: v for n, v in absent.items() if n not in known}
    # Those of a plain encoder, and for version 1, were compared already.
    compared = not is_adapted(encoder) or adapter.base is None
    others = [] if compared else changed_in(others, adapter.base)
    if others:
        raise AdapterFileError(
            f"{adapter.source} needs the base's own values of {', '.join(others[:4])}"
            f"{' and more' if len(others) > 4 else ''}, but training has changed them in this "
            "encoder. Load the pretrained encoder anew"
        )
    return {name: known[name] for name in absent if name in known}
