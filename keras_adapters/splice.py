"""Adds adapters to an encoder, and removes them."""

from __future__ import annotations

from typing import Any

from keras_adapters.bindings import binding_of, host_of
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.original import (
    changed_in,
    freeze_parts,
    insertion_of,
    is_adapted,
    original_of,
)
from keras_adapters.planning import check_method, plan
from keras_adapters.variables import assign_all, encoder_variables


def add_adapters(encoder: Any, config: AdapterConfig) -> Any:
    """Adds adapters to an encoder, in place, and freezes nothing.

    The encoder may already hold restored weights and may already be part of a model; its
    own variables keep their values, objects and checkpoint keys. Its class becomes a
    subclass whose config tells of the adapters, so saving and reloading keeps them.
    Compile a model that contains the encoder only afterwards: an encoder knows nothing of
    the models that it is in, and what they have traced goes on without the adapters.

    Args:
      encoder: one that a host knows.
      config: which adapters, and where. An `AlbertEncoder`'s layers share their block, and
        so they share its adapters. A `MobileBERTEncoder` gets one after each of a block's
        stacked feed-forward networks, as wide as the block's bottleneck.

    Returns:
      The same encoder.

    Raises:
      ValueError: the encoder's class or its blocks' is not one that can be adapted, it has
        adapters already or is itself a compiled model, `config.layers` names a block that it
        does not have or chooses among layers that share one block, or `config` is no
        settings of adapters or Keras has no such activation.

    Reference:
      Houlsby et al. 2019, section 2.1 and figure 2.
    """
    if config is None:
        raise ValueError("`config` must be settings of adapters. Received: config=None")
    host_of(encoder)
    method = Method(config, trains="all")
    check_no_adapters(encoder)
    check_method(encoder, method)
    binding = binding_of(encoder)
    binding.check_not_compiled(encoder)
    binding.build(encoder)
    original = original_of(encoder)
    binding.insert(plan(encoder, config))
    binding.become_adapted(encoder, method, original)
    binding.trace_anew(encoder)
    return encoder


def check_no_adapters(encoder: Any) -> None:
    """Raises a ValueError if something was inserted into an encoder."""
    if insertion_of(encoder) is not None:
        raise ValueError(
            f"`encoder` has adapters already: {insertion_of(encoder)}. Take them out with "
            "`remove_adapter(encoder)` first, load others of the same settings with "
            "`load_adapter`, or choose what trains with `set_trainable`."
        )


def take_out_adapters(encoder: Any) -> Any:
    """Makes an encoder what it was before `add_adapters` or `adapt`, in place.

    Inserted layers are out, each block has its own dropouts and projections again, the
    LayerNorms have the values that they had, the encoder is of its own class, and what was
    frozen before is frozen.

    Args:
      encoder: an encoder that a method was applied to.

    Returns:
      The same encoder.

    Raises:
      ValueError: there is nothing to take out; more of the base than its LayerNorms has
        changed, or would by the method; or the encoder was reloaded, so that its own LayerNorms
        are not known.
    """
    host_of(encoder)
    if not is_adapted(encoder):
        raise ValueError(
            f"`encoder` must be adapted: there is nothing to remove from {encoder.name!r}, a "
            f"{type(encoder).__name__}"
        )
    original, method = encoder.original, encoder.method
    if method.insertion is None and method.trains not in ("nothing", "layer_norms"):
        raise ValueError(
            f"`encoder` cannot be what it was: the method {method.name!r} inserts nothing and "
            f"trains {method.trains.replace('_', ' ')} of the base, of which no copy is kept. "
            "Load the pretrained encoder anew."
        )
    if original.norms is None:
        raise ValueError(
            "the LayerNorms that the encoder had before it was adapted are not known, for it was "
            "made from a config or a file. Load the pretrained encoder anew."
        )
    named = encoder_variables(encoder, adapters=False)
    norms = {name: named.pop(name) for name in original.norms}
    changed = changed_in(named, original.base)
    if changed:
        raise ValueError(
            f"`encoder` cannot be what it was: {len(changed)} variables, of which no copy is kept, "
            f"have changed: {', '.join(changed[:4])}. Load the pretrained encoder anew."
        )
    binding = binding_of(encoder)
    binding.take_out(encoder)
    assign_all(norms, original.norms, "the LayerNorms of before")
    # Before sites that were named are forgotten.
    freeze_parts(encoder, original.frozen)
    binding.become_plain(encoder)
    binding.trace_anew(encoder)
    return encoder
