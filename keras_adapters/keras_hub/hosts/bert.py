"""BERT, and the encoders that differ from it in what lies around the blocks alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import keras
import keras_hub

from keras_adapters.host import Part
from keras_adapters.keras_hub.hosts.transformer import TransformerHost


class BertHost(TransformerHost):
    """`BertBackbone`: all names are those of tf-models-official's `BertEncoderV2`."""

    family = "bert"
    block_classes = (keras_hub.layers.TransformerEncoder,)
    embeddings: Mapping[str, str] = {
        "embeddings/word": "token_embedding",
        "embeddings/position": "position_embedding",
        "embeddings/type": "segment_embedding",
        "embeddings/layer_norm": "embeddings_layer_norm",
    }
    top: Mapping[str, str] = {"pooler": "pooled_dense"}


class ElectraHost(BertHost):
    """`ElectraBackbone`: a BERT whose embeddings may be narrower than its blocks."""

    def embedding_parts(self, encoder: keras.Model) -> Iterator[Part]:
        """Yields what lies below the blocks, and the projection if there is one."""
        yield from super().embedding_parts(encoder)
        if encoder.embedding_dim != encoder.hidden_dim:
            yield "embeddings/projection", encoder.embeddings_projection
