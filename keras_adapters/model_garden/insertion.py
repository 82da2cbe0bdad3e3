"""Puts layers into the sites of an encoder's blocks, and takes them out again.

How what a block calls is made to compute them too, without a change of its own code, its
variables or its checkpoints, `wrapping` says.
"""

from __future__ import annotations

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
    become,
    become_again,
)
from keras_adapters.planning import Planned
from keras_adapters.wire import Wire


def insert(planned: Iterable[Planned]) -> None:
    """Puts layers where they were planned to be."""
    for place in planned:
        _put(place)


def insert_at(site: Site, block: tf_keras.layers.Layer, config: AdapterConfig) -> None:
    """Puts a layer of settings with one size at one sub-layer."""
    _put(Planned(0, site, block, make_at(site, block, config), config.reads))


def make_at(
    site: Site,
    block: tf_keras.layers.Layer,
    config: AdapterConfig,
    make: Callable[..., tf_keras.layers.Layer] | None = None,
) -> tf_keras.layers.Layer:
    """Returns a built layer of settings with one size for one sub-layer of a block.

    Args:
      site: the sub-layer.
      block: its block.
      config: the settings.
      make: makes a layer of the settings, a `dtype` and a `name`; by default `make_layer`.
    """
    name = f"{site.name}_adapter"
    layer = (make or make_layer)(config, dtype=block.dtype_policy, name=name)
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
