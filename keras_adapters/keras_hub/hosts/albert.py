"""ALBERT: BERT's blocks, each shared by layers."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from keras_adapters.keras_hub.hosts.bert import BertHost


class AlbertHost(BertHost):
    """`AlbertBackbone`, whose layers share the blocks of their group."""

    family = "albert"
    embeddings: Mapping[str, str] = {
        **BertHost.embeddings,
        "embeddings/projection": "embeddings_projection",
    }

    def blocks(self, encoder: keras.Model) -> list[keras.layers.Layer]:
        """Returns the block of each layer, a shared one once for each."""
        calls = encoder.num_layers // encoder.num_groups
        return [
            block for group in encoder.transformer_layers for _ in range(calls) for block in group
        ]
