"""Puts layers into the sites of a model's blocks, and takes them out again.

How what a block calls is made to compute them too, without a change of its own code, its
variables or its files, `wrapping` says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import keras

from keras_adapters.bindings import host_of
from keras_adapters.host import Site, inserted_at
from keras_adapters.keras_hub.guards import guard, unguard
from keras_adapters.keras_hub.layers import make_layer
from keras_adapters.keras_hub.wrapping import (
    NormThenAdapter,
    TellsInput,
    TellsOutput,
    ThenAdapter,
    become,
    become_again,
)
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.planning import Planned
from keras_adapters.wire import Wire

_TELLS = {"input": TellsInput, "output": TellsOutput}


def insert(planned: Iterable[Planned]) -> None:
    """Puts layers where they were planned to be."""
    planned = list(planned)
    for place in planned:
        site, layer = place.site, place.layer
        if place.reads == "normalised":
            become(_holder(place), NormThenAdapter, layer)
            continue
        wire = None
        if place.reads == "input":
            wire = Wire()
            become(site.input.layer, _TELLS[site.input.side], wire=wire)
        become(_holder(place), ThenAdapter, layer, wire)
    for block in {id(place.block): place.block for place in planned}.values():
        guard(block, [_holder(place) for place in planned if place.block is block])


def _holder(place: Planned) -> keras.layers.Layer:
    """Returns the layer in which an inserted one is."""
    return place.site.after.layer if place.reads == "normalised" else place.site.end


def make_at(
    site: Site,
    block: keras.layers.Layer,
    config: AdapterConfig,
    make: Callable[..., keras.layers.Layer] | None = None,
) -> keras.layers.Layer:
    """Returns a built layer of settings with one size for one sub-layer of a block.

    Args:
      site: the sub-layer.
      block: its block.
      config: the settings.
      make: makes a layer of the settings, a `dtype` and a `name`; by default `make_layer`.
    """
    name = f"{site.name}_adapter"
    layer = (make or make_layer)(config, dtype=site.end.dtype_policy, name=name)
    with _scopes(block.path):
        layer.build((None, None, site.width))
    return layer


@contextlib.contextmanager
def _scopes(path: str) -> Iterator[None]:
    """Opens the name scopes of a layer, so that what is built has paths inside of its."""
    with contextlib.ExitStack() as stack:
        for name in path.split("/"):
            stack.enter_context(keras.name_scope(name))
        yield


def take_out(encoder: keras.layers.Layer) -> None:
    """Takes all inserted layers out of a model; its blocks are what they were."""
    host = host_of(encoder)
    for block in {id(block): block for block in host.blocks(encoder)}.values():
        for site in host.sites(block):
            if inserted_at(site) is None:
                continue
            for layer in (site.input.layer, site.end, site.after and site.after.layer):
                if layer is not None:
                    become_again(layer)
        unguard(block)
