"""MobileBERT: narrow blocks of several feed-forward networks, which end in projections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tf_keras
from official.nlp.modeling import layers
from official.nlp.modeling.layers import mobile_bert_layers

from keras_adapters.host import Part, Site, Tap, one_or_all
from keras_adapters.model_garden.hosts.host import (
    Host,
    activation_of,
    attention_parts,
    embedding_parts,
)


class MobileBertHost(Host):
    """`MobileBERTEncoder`. Its `NoNorm`, a LayerNorm's scale and shift, counts as a LayerNorm."""

    family = "mobilebert"
    block_classes = (layers.MobileBertTransformer,)
    norm_classes = (*Host.norm_classes, mobile_bert_layers.NoNorm)
    # Keras does not look into the lists in which the blocks keep their layers.
    keras_finds_variables = False

    def sites(self, block: layers.MobileBertTransformer) -> list[Site]:
        """Returns attention's, then each of the stacked feed-forward networks'."""
        inside = block.block_layers
        attention, norm = inside["attention"]
        # What attention's output is added to is no input of attention itself.
        stream = Tap(inside["bottleneck_input"][1], "output")
        rows = [("attention", "attention", stream, attention._output_dense, norm)]
        for index, (intermediate, projection, norm) in enumerate(inside["ffn"]):
            stream = Tap(intermediate, "input")
            rows.append((f"feed_forward_{index}", "feed_forward", stream, projection, norm))
        return [
            Site(name, place, stream, end, end.kernel.shape[-1], after=Tap(norm, "output"))
            for name, place, stream, end, norm in rows
        ]

    def embedding_parts(self, encoder: tf_keras.layers.Layer) -> Iterator[Part]:
        """Yields what lies in the one embedding layer."""
        inside = encoder.embedding_layer
        tables = (inside.word_embedding, inside.pos_embedding, inside.type_embedding)
        yield from embedding_parts(tables, inside.layer_norm, inside.word_embedding_proj)

    def block_parts(self, block: layers.MobileBertTransformer) -> Iterator[Part]:
        """Yields the bottlenecks, attention's layers and the feed-forward networks'."""
        inside = block.block_layers
        for name in ("bottleneck_input", "kq_shared_bottleneck", "bottleneck_output"):
            if name in inside:
                yield name, inside[name][0]
                yield f"{name}/layer_norm", inside[name][-1]
        yield from attention_parts(inside["attention"][0])
        yield "attention/layer_norm", inside["attention"][1]
        for index, (intermediate, output, norm) in enumerate(inside["ffn"]):
            yield f"feed_forward_{index}/intermediate", intermediate
            yield f"feed_forward_{index}/output", output
            yield f"feed_forward_{index}/layer_norm", norm

    def block_architecture(self, block: layers.MobileBertTransformer) -> dict[str, Any]:
        """Returns heads, activation, and what queries and keys are made of."""
        inside = block.block_layers
        if block.use_bottleneck_attention:
            source = "bottleneck"
        else:
            source = "shared bottleneck" if block.key_query_shared_bottleneck else "input"
        return {
            "heads": inside["attention"][0]._num_heads,
            "activation": one_or_all([activation_of(row[0]) for row in inside["ffn"]]),
            "attention_source": source,
        }
