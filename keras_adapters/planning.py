"""What is to be inserted where, found out and checked before an encoder is touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_adapters.bindings import binding_of, host_of
from keras_adapters.host import Site, inserted_at
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.original import is_adapted


@dataclasses.dataclass(frozen=True)
class Planned:
    """A built layer, and where it is to be put.

    Args:
      index: of the lowest layer whose block it is for.
      site: the place.
      block: that holds the place.
      layer: what is to be put there.
      reads: what it reads, one of `methods.bottleneck.READS`.
    """

    index: int
    site: Site
    block: Any
    layer: Any
    reads: str


def plan(
    encoder: Any,
    config: AdapterConfig,
    make: Callable[..., Any] | None = None,
) -> list[Planned]:
    """Makes a layer for each site of a built encoder that its settings choose; puts none.

    Args:
      encoder: a built encoder without inserted layers.
      config: the settings.
      make: makes one layer of the settings, a `dtype` and a `name`; by default that of its kind.
    """
    binding = binding_of(encoder)
    host = binding.host_of(encoder)
    blocks = host.blocks(encoder)
    lowest: dict[int, int] = {}
    for index, block in enumerate(blocks):
        lowest.setdefault(id(block), index)
    chosen = config.layers or range(len(blocks))
    # Of each block once, though several layers may share it.
    first = {lowest[id(blocks[index])]: index for index in reversed(chosen)}
    planned = []
    for index in dict.fromkeys(lowest[id(blocks[index])] for index in chosen):
        of_layer = config.of_layer(first[index])
        block = blocks[index]
        for site in host.sites(block):
            if site.place in config.places:
                layer = binding.make_at(site, block, of_layer, make)
                planned.append(Planned(index, site, block, layer, config.reads))
    return planned


def check_method(encoder: Any, method: Method) -> None:
    """Raises a ValueError if an encoder cannot be adapted, or does not fit a method."""
    host = host_of(encoder)
    if not is_adapted(encoder):
        binding_of(encoder).check_class(encoder)
    if not is_adapted(encoder) and host.is_built(encoder):
        check_nothing_inserted(encoder)
    blocks = len(host.blocks(encoder))
    method.check_blocks(blocks)
    layers = method.insertion.layers if method.insertion else None
    chosen = f"top_layers={method.top_layers}" if method.top_layers else f"layers={layers}"
    if host.shares_blocks(encoder) and (method.top_layers or 0 < len(layers or ()) < blocks):
        raise ValueError(
            f"`method` must not choose among the layers of {host.encoder_class.__name__}: its "
            f"{blocks} layers share one block, and so what it holds. Received: {chosen}"
        )
    if method.insertion is not None:
        _check_insertion(encoder, method.insertion)


def _check_insertion(encoder: Any, config: AdapterConfig) -> None:
    """Raises a ValueError if the encoder's blocks cannot hold layers of these settings."""
    host = host_of(encoder)
    name, blocks = host.encoder_class.__name__, host.blocks(encoder)
    binding_of(encoder).make_layer(config.of_layer((config.layers or (0,))[0]))
    if config.varies and host.shares_blocks(encoder):
        raise ValueError(
            f"`size` must be one number for {name}, whose layers share one block and so its "
            f"adapters. Received: size={config.size}"
        )
    if config.reads == "normalised" and not all(map(host.normalises_last, blocks)):
        raise ValueError(
            f"form={config.form!r} needs blocks that normalise after each residual addition. "
            f"Received: {name} {encoder.name!r}, whose blocks normalise first (`norm_first`)"
        )
    if config.needs_all_positions and not host.computes_all_positions(encoder):
        raise ValueError(
            "`gate` is the mean over all positions, so the encoder must compute them all. "
            f"Received: {name} {encoder.name!r} with `output_range`"
        )
    host.check_insertion(encoder, config)


def check_nothing_inserted(encoder: Any) -> None:
    """Raises a ValueError if a built encoder holds inserted layers, say a `MultiTaskModel`'s."""
    host = host_of(encoder)
    sites = [site for block in host.blocks(encoder) for site in host.sites(block)]
    layers = [layer for site in sites if (layer := inserted_at(site)) is not None]
    if layers:
        raise ValueError(
            "`encoder` must hold no inserted layers yet. Received: "
            f"{encoder.name!r}, which holds {len(layers)} of {type(layers[0]).__name__}"
        )
