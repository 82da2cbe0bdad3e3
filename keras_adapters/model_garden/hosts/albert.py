"""ALBERT: a functional model whose layers share one block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tf_keras

from keras_adapters.host import Part
from keras_adapters.model_garden.hosts.bert import BertHost
from keras_adapters.model_garden.hosts.host import embedding_parts


class AlbertHost(BertHost):
    """`AlbertEncoder`, which keeps its layers by their names only."""

    family = "albert"

    def blocks(self, encoder: tf_keras.layers.Layer) -> list[tf_keras.layers.Layer]:
        """Returns the shared block, once for each layer."""
        return [encoder.get_layer("transformer")] * encoder._config.num_layers

    def embedding_parts(self, encoder: tf_keras.layers.Layer) -> Iterator[Part]:
        """Yields what lies below the block."""
        inside = {layer.name: layer for layer in encoder.layers}
        tables = tuple(
            inside[name] for name in ("word_embeddings", "position_embedding", "type_embeddings")
        )
        projection = inside.get("embedding_projection")
        yield from embedding_parts(tables, inside["embeddings/layer_norm"], projection)

    def pooler(self, encoder: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        """Returns the layer behind `pooled_output`."""
        return encoder.get_layer("pooler_transform")

    def to_plain(self, encoder: tf_keras.layers.Layer, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config, with the one argument that `AlbertEncoder`'s leaves out."""
        plain = super().to_plain(encoder, config)
        return {**plain, "dict_outputs": isinstance(encoder.output, dict)}
