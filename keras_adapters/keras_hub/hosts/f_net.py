"""FNet: a Fourier transform mixes the tokens, a function between the block's layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import keras_hub

from keras_adapters.keras_hub.hosts.bert import BertHost


class FNetHost(BertHost):
    """`FNetBackbone`. No layer ends its mixing, so that the feed-forward network's is its one site.

    All names are those of tf-models-official's `FNet`.
    """

    family = "fnet"
    block_classes = (keras_hub.layers.FNetEncoder,)
    embeddings: Mapping[str, str] = {
        **BertHost.embeddings,
        "embeddings/projection": "embedding_projection",
    }
    parts: Mapping[str, str] = {
        "attention/layer_norm": "_mixing_layer_norm",
        "intermediate": "_intermediate_dense",
        "output": "_output_dense",
        "output/layer_norm": "_output_layer_norm",
    }
    rows = (("feed_forward", "_intermediate_dense", "_output_dropout", "_output_layer_norm"),)

    def normalises_last(self, block: keras.layers.Layer) -> bool:
        """Says that the block normalises after its residual additions."""
        return True

    def block_architecture(self, block: keras.layers.Layer) -> dict[str, Any]:
        """Returns the activation, and that tokens are mixed by Fourier transforms."""
        return {
            "heads": None,
            "activation": self.activation_of(block._intermediate_dense),
            "norm_first": False,
            "mixing": "fourier",
        }
