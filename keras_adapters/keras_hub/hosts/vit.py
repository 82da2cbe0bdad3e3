"""ViT: patches of images in blocks that normalise first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
from keras_hub.src.models.vit.vit_layers import ViTEncoderBlock

from keras_adapters.host import Part
from keras_adapters.keras_hub.hosts.host import Host


class ViTHost(Host):
    """`ViTBackbone`, which keeps its layers by their names only.

    The network in a block calls its one dropout twice, so that what ends this sub-layer is the
    network as a whole. Whether the channels come first or last is no part of the architecture.
    """

    family = "vit"
    block_classes = (ViTEncoderBlock,)
    parts: Mapping[str, str] = {
        "attention/query": "mha._query_dense",
        "attention/key": "mha._key_dense",
        "attention/value": "mha._value_dense",
        "attention/output": "mha._output_dense",
        "attention/layer_norm": "layer_norm_1",
        "intermediate": "mlp.dense_1",
        "output": "mlp.dense_2",
        "output/layer_norm": "layer_norm_2",
    }
    rows = (
        ("attention", "mha", "dropout", "layer_norm_1"),
        ("feed_forward", "mlp.dense_1", "mlp", "layer_norm_2"),
    )

    def blocks(self, encoder: keras.Model) -> list[keras.layers.Layer]:
        """Returns the block of each layer, the lowest first."""
        return list(encoder.get_layer("vit_encoder").encoder_layers)

    def normalises_last(self, block: keras.layers.Layer) -> bool:
        """Says that the block normalises before its sub-layers."""
        return False

    def embedding_parts(self, encoder: keras.Model) -> Iterator[Part]:
        """Yields the patches' layers; the first holds the class token itself."""
        inside = encoder.get_layer("vit_patching_and_embedding")
        yield "embeddings", inside
        yield "embeddings/patch", inside.patch_embedding
        yield "embeddings/position", inside.position_embedding

    def top_parts(self, encoder: keras.Model) -> Iterator[Part]:
        """Yields the last norm."""
        yield "layer_norm", encoder.get_layer("vit_encoder").layer_norm

    def embedding_architecture(self, table: keras.layers.Layer) -> dict[str, Any]:
        """Returns nothing: the variables tell all of the patches."""
        return {}

    def block_architecture(self, block: keras.layers.Layer) -> dict[str, Any]:
        """Returns heads, activation and order."""
        return {
            "heads": block.num_heads,
            "activation": self.activation_of(block.mlp.dense_1),
            "norm_first": True,
        }
