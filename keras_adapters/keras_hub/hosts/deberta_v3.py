"""DeBERTaV3: blocks with BERT's attributes, whose attention reads relative positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras_hub.src.models.deberta_v3.disentangled_attention_encoder import (
    DisentangledAttentionEncoder,
)

from keras_adapters.keras_hub.hosts.transformer import TransformerHost


class DebertaV3Host(TransformerHost):
    """`DebertaV3Backbone`."""

    family = "deberta_v3"
    block_classes = (DisentangledAttentionEncoder,)
    embeddings: Mapping[str, str] = {
        "embeddings/word": "token_embedding",
        "embeddings/layer_norm": "embeddings_layer_norm",
        "embeddings/relative": "relative_embeddings",
        "embeddings/relative/layer_norm": "relative_embeddings.layer_norm",
    }
    top: Mapping[str, str] = {}

    def normalises_last(self, block: keras.layers.Layer) -> bool:
        """Says that the block normalises after its residual additions."""
        return True

    def block_architecture(self, block: keras.layers.Layer) -> dict[str, Any]:
        """Returns what is told of BERT's blocks, and how positions are put into buckets."""
        attention = block._self_attention_layer
        return {
            **super().block_architecture(block),
            "bucket_size": attention.bucket_size,
            "max_position_embeddings": attention.max_position_embeddings,
        }
