"""FNet: a Fourier transform mixes the tokens, a function between the block's layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import keras_hub

from keras_adapters.keras_hub.hosts.bert import BertHost
from keras_adapters.methods.bottleneck import AdapterConfig


class FNetHost(BertHost):
    """`FNetBackbone`. No layer ends its mixing, so that a block has the one site behind it."""

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

    def check_insertion(self, encoder: keras.Model, config: AdapterConfig) -> None:
        """Raises a ValueError if an adapter would stand nowhere."""
        if "feed_forward" not in config.places:
            raise ValueError(
                f"`places` must name 'feed_forward' for {self.encoder_class.__name__}: no layer "
                f"ends the mixing of its blocks. Received: places={config.places}"
            )

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
