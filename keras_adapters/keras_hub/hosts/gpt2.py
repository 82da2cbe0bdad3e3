"""GPT-2 and OPT: decoders of KerasHub's own blocks, which see what is to their left."""

from __future__ import annotations

from collections.abc import Mapping

import keras_hub

from keras_adapters.keras_hub.hosts.transformer import TransformerHost


class Gpt2Host(TransformerHost):
    """`GPT2Backbone`."""

    family = "gpt2"
    block_classes = (keras_hub.layers.TransformerDecoder,)
    embeddings: Mapping[str, str] = {
        "embeddings/word": "token_embedding",
        "embeddings/position": "position_embedding",
    }
    top: Mapping[str, str] = {"layer_norm": "layer_norm"}


class OptHost(Gpt2Host):
    """`OPTBackbone`."""

    family = "opt"
    embeddings: Mapping[str, str] = {
        "embeddings/word": "embeddings.token_embedding",
        "embeddings/position": "embeddings.position_embedding",
    }
