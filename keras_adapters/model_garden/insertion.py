"""Puts layers into the sites of an encoder's blocks, and takes them out again.

A dropout at a sub-layer's end is replaced by "that dropout, then the layer", so the
block's own code, variables and checkpoints stay as they are. A projection there becomes
one that the layer follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.model_garden.hosts.host import Site
from keras_adapters.model_garden.hosts.table import host_of
from keras_adapters.model_garden.layers import make_layer


class DropoutThenAdapter(tf_keras.layers.Layer):
    """A block's dropout followed by an inserted layer; stands where the dropout stood.

    Args:
      dropout: the block's own dropout layer.
      adapter: a built layer that keeps its inputs' shape.

    Call arguments:
      inputs: `<float>[batch, seq, hidden]`, a sub-layer's output.
      training: whether to apply dropout.

    Returns:
      `<float>[batch, seq, hidden]`.
    """

    def __init__(
        self, dropout: tf_keras.layers.Layer, adapter: tf_keras.layers.Layer, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dropout = dropout
        self.adapter = adapter

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns adapter(dropout(inputs))."""
        return self.adapter(self.dropout(inputs, training=training), training=training)


class ProjectionThenAdapter(tf_keras.layers.EinsumDense):
    """A block's projection followed by an inserted layer; what `insert_at` makes of one.

    The inserted layer belongs to the block: to freeze the projection is not to freeze it.
    """

    adapter: tf_keras.layers.Layer

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns adapter(projection(inputs)), `<float>[batch, seq, width]`."""
        return self.adapter(super().call(inputs))


@dataclasses.dataclass(frozen=True)
class Planned:
    """A built layer, and where it is to be put.

    Args:
      index: of the lowest layer whose block it is for.
      site: the place.
      block: that holds the place.
      layer: what is to be put there.
    """

    index: int
    site: Site
    block: tf_keras.layers.Layer
    layer: tf_keras.layers.Layer


def plan(
    encoder: tf_keras.layers.Layer,
    config: AdapterConfig,
    make: Callable[..., tf_keras.layers.Layer] = make_layer,
) -> list[Planned]:
    """Makes a layer for each site of a built encoder that its settings choose; puts none.

    Args:
      encoder: a built encoder without inserted layers.
      config: the settings.
      make: makes one layer of the settings, a `dtype` and a `name`.
    """
    host = host_of(encoder)
    blocks = host.blocks(encoder)
    lowest: dict[int, int] = {}
    for index, block in enumerate(blocks):
        lowest.setdefault(id(block), index)
    chosen = config.layers or range(len(blocks))
    return [
        Planned(index, site, blocks[index], _make_for(site, blocks[index], config, make))
        for index in dict.fromkeys(lowest[id(blocks[index])] for index in chosen)
        for site in host.sites(blocks[index])
        if site.place in config.places
    ]


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
        _put(place.site, place.block, place.layer)


def insert_at(site: Site, block: tf_keras.layers.Layer, config: AdapterConfig) -> None:
    """Puts a layer at the end of one sub-layer."""
    _put(site, block, _make_for(site, block, config, make_layer))


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


def _put(site: Site, block: tf_keras.layers.Layer, layer: tf_keras.layers.Layer) -> None:
    if site.attribute:
        wrapped = DropoutThenAdapter(
            site.end, layer, dtype=block.dtype_policy, name=f"{site.name}_end"
        )
        setattr(block, site.attribute, wrapped)
        return
    setattr(block, layer.name, layer)
    # Set past Keras, so that it is the block that tracks the layer, once.
    object.__setattr__(site.end, "adapter", layer)
    set_class(site.end, ProjectionThenAdapter)


def take_out(encoder: tf_keras.layers.Layer) -> None:
    """Takes all inserted layers out of an encoder; its blocks are what they were."""
    host = host_of(encoder)
    for block in {id(block): block for block in host.blocks(encoder)}.values():
        for site in host.sites(block):
            layer = inserted_at(site)
            if layer is None:
                continue
            if site.attribute:
                setattr(block, site.attribute, site.end.dropout)
            else:
                delattr(block, layer.name)
                object.__delattr__(site.end, "adapter")
                set_class(site.end, tf_keras.layers.EinsumDense)


def inserted_at(site: Site) -> tf_keras.layers.Layer | None:
    """Returns the layer that was put at the end of a sub-layer, if one was."""
    return getattr(site.end, "adapter", None)


def set_class(layer: tf_keras.layers.Layer, cls: type) -> None:
    """Makes a layer one of another class, past Keras, which tracks what is set on it."""
    object.__setattr__(layer, "__class__", cls)
