"""What hosts of Keras 3 models share."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_adapters import host
from keras_adapters.host import Part, Site, Tap, activation_function, described_activation


class Host(host.Host):
    """All that is special about one class of backbone in `keras_hub.models`.

    An RMS norm, a LayerNorm's scale without its mean and shift, counts as a LayerNorm. What
    most hosts have to tell is where a backbone keeps its layers: tables, which the methods
    read.
    """

    norm_classes = (keras.layers.LayerNormalization, keras.layers.RMSNormalization)
    # Where a backbone keeps what lies below its blocks, a block its layers, and a backbone what
    # lies above, by the names of the parts; such as `"_self_attention_layer._query_dense"`.
    embeddings: Mapping[str, str]
    parts: Mapping[str, str]
    top: Mapping[str, str]
    # Each site's name, which is its place, with the first layer of the sub-layer, the last
    # before the residual addition, and the norm.
    rows: tuple[tuple[str, str, str, str], ...]

    def sites(self, block: keras.layers.Layer) -> list[Site]:
        """Returns the residual sub-layers of a built block, in the order of its computation."""
        width = _at(block, self.parts["output"]).units
        normalises_last = self.normalises_last(block)
        return [
            Site(
                name=name,
                place=name,
                input=Tap(_at(block, first), "input"),
                end=_at(block, end),
                width=width,
                after=Tap(_at(block, norm), "output") if normalises_last else None,
            )
            for name, first, end, norm in self.rows
        ]

    def embedding_parts(self, encoder: keras.Model) -> Iterator[Part]:
        """Yields what lies below the blocks, by names that stand for the whole encoder."""
        yield from ((name, _at(encoder, path)) for name, path in self.embeddings.items())

    def block_parts(self, block: keras.layers.Layer) -> Iterator[Part]:
        """Yields a block's layers that hold variables, by names inside the block."""
        yield from ((name, _at(block, path)) for name, path in self.parts.items())

    def top_parts(self, encoder: keras.Model) -> Iterator[Part]:
        """Yields what lies above the blocks: a pooler, or a last norm."""
        yield from ((name, _at(encoder, path)) for name, path in self.top.items())

    def pooler(self, encoder: keras.Model) -> keras.layers.Layer | None:
        """Returns the layer behind `pooled_output`; None where there is none."""
        return dict(self.top_parts(encoder)).get("pooler")

    def embedding_architecture(self, table: keras.layers.Layer) -> dict[str, Any]:
        """Returns what `architecture` tells of the layer of word embeddings.

        Raises:
          ValueError: the layer is of a class of its own.
        """
        if type(table) not in (keras.layers.Embedding, keras.layers.ReversibleEmbedding):
            raise ValueError(
                "the word embeddings must be a `keras.layers.Embedding` or `ReversibleEmbedding`. "
                f"Received: {table.name!r}, a {type(table).__name__}"
            )
        masks = {"mask_zero": True} if table.mask_zero else {}
        return {"embedding_scale": 1.0, **masks}

    def activation_of(self, layer: keras.layers.Layer) -> str:
        """Returns the name of a layer's activation, by what it computes in float32.

        Raises:
          ValueError: it is no function of one tensor, or holds variables.
        """
        function = activation_function(layer)

        def computed(x: np.ndarray) -> np.ndarray:
            return keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x)))

        # A `Dense` without an activation has None for the identity.
        return described_activation(layer, computed if function is not None else lambda x: x)


def _at(owner: keras.layers.Layer, path: str) -> keras.layers.Layer:
    return operator.attrgetter(path)(owner)
