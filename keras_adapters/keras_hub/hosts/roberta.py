"""RoBERTa and DistilBERT: BERT's blocks, below which tokens have no types."""

from __future__ import annotations

from collections.abc import Mapping

import keras_hub

from keras_adapters.keras_hub.hosts.transformer import TransformerHost


class RobertaHost(TransformerHost):
    """`RobertaBackbone`, and encoders that are as it is: no types of tokens, no pooler.

    Args:
      encoder_class: the backbone's own class.
      family: what the same base is called, whichever class holds it.
    """

    block_classes = (keras_hub.layers.TransformerEncoder,)
    embeddings: Mapping[str, str] = {
        "embeddings/word": "embeddings.token_embedding",
        "embeddings/position": "embeddings.position_embedding",
        "embeddings/layer_norm": "embeddings_layer_norm",
    }
    top: Mapping[str, str] = {}

    def __init__(self, encoder_class: type, family: str = "roberta") -> None:
        super().__init__(encoder_class)
        self.family = family
