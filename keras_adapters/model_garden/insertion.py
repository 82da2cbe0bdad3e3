"""Puts layers into the sites of an encoder's blocks, and takes them out again.

How what a block calls is made to compute them too, without a change of its own code, its
variables or its checkpoints, `wrapping` says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import tensorflow as tf
import tf_keras

from keras_adapters.host import Site, Tap, inserted_at
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.model_garden.hosts.table import host_of
from keras_adapters.model_garden.layers import make_layer
from keras_adapters.model_garden.wrapping import (
    DropoutThenAdapter,
    NormThenAdapter,
    ProjectionThenAdapter,
    TellsInput,
    TellsOutput,
    Wire,
    become,
    become_again,
)


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
    block: tf_keras.layers.Layer
    layer: tf_keras.layers.Layer
    reads: str


def plan(
    encoder: tf_keras.layers.Layer,
    config: AdapterConfig,
    make: Callable[..., tf_keras.layers.Layer] | None = None,
) -> list[Planned]:
    """Makes a layer for each site of a built encoder that its settings choose; puts none.

    Args:
      encoder: a built encoder without inserted layers.
      config: the settings.
      make: makes one layer of the settings, a `dtype` and a `name`; by default `make_layer`.
    """
    host = host_of(encoder)
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
                layer = _make_for(site, block, of_layer, make or make_layer)
                planned.append(Planned(index, site, block, layer, config.reads))
    return planned


def check_nothing_inserted(encoder: tf_keras.layers.Layer) -> None:
    """Raises a ValueError if a built encoder holds inserted layers, say a `MultiTaskModel`'s."""
    host = host_of(encoder)
    sites = [site for block in host.blocks(encoder) for site in host.sites(block)]
    layers = [layer for site in sites if (layer := inserted_at(site)) is not None]
    if layers:
        raise ValueError(
            "`encoder` must hold no inserted layers yet. Received: "
            f"{encoder.name!r}, which holds {len(layers)} of {type(layers[0]).__name__}"
        )


def insert(planned: Iterable[Planned]) -> None:
    """Puts layers where they were planned to be."""
    for place in planned:
        _put(place)


def insert_at(site: Site, block: tf_keras.layers.Layer, config: AdapterConfig) -> None:
    """Puts a layer of settings with one size at one sub-layer."""
    _put(Planned(0, site, block, _make_for(site, block, config, make_layer), config.reads))


def _make_for(
    site: Site,
    block: tf_keras.layers.Layer,
    config: AdapterConfig,
    make: Callable[..., tf_keras.layers.Layer],
) -> tf_keras.layers.Layer:
    name = f"{site.name}_adapter"
    layer = make(config, dtype=block.dtype_policy, name=name)
    with tf.name_scope(f"{block.name}/{name}"):
        layer.build(tf.TensorShape([None, None, site.width]))
    return layer


def _put(place: Planned) -> None:
    site, block, layer = place.site, place.block, place.layer
    if place.reads == "normalised":
        setattr(block, layer.name, layer)
        become(site.after.layer, NormThenAdapter, adapter=layer)
        return
    wire = None
    if place.reads == "input":
        wire = Wire()
        become(site.input.layer, _TELLS[site.input.side], wire=wire)
    if site.attribute:
        wrapped = DropoutThenAdapter(
            site.end, layer, wire, dtype=block.dtype_policy, name=f"{site.name}_end"
        )
        setattr(block, site.attribute, wrapped)
        return
    # It is the block that tracks the layer, once.
    setattr(block, layer.name, layer)
    become(site.end, ProjectionThenAdapter, adapter=layer, wire=wire)


_TELLS = {"input": TellsInput, "output": TellsOutput}


def take_out(encoder: tf_keras.layers.Layer) -> None:
    """Takes all inserted layers out of an encoder; its blocks are what they were."""
    host = host_of(encoder)
    for block in {id(block): block for block in host.blocks(encoder)}.values():
        for site in host.sites(block):
            layer = inserted_at(site)
            if layer is None:
                continue
            if isinstance(site.end, DropoutThenAdapter):
                setattr(block, site.attribute, site.end.dropout)
            else:
                delattr(block, layer.name)
            for own in (site.input, Tap(site.end, "output"), site.after):
                if own is not None:
                    become_again(own.layer)
