"""Blocks of KerasHub's own Transformer layers, and of classes with the same attributes.

`TransformerEncoder.call` and `TransformerDecoder.call` apply `_self_attention_dropout` and
`_feedforward_dropout` once each, also at rate 0, right before that sub-layer's residual addition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_adapters.keras_hub.hosts.host import Host

ATTENTION = {
    "attention/query": "_self_attention_layer._query_dense",
    "attention/key": "_self_attention_layer._key_dense",
    "attention/value": "_self_attention_layer._value_dense",
    "attention/output": "_self_attention_layer._output_dense",
}


class TransformerHost(Host):
    """Any backbone of such blocks."""

    parts: Mapping[str, str] = {
        **ATTENTION,
        "attention/layer_norm": "_self_attention_layer_norm",
        "intermediate": "_feedforward_intermediate_dense",
        "output": "_feedforward_output_dense",
        "output/layer_norm": "_feedforward_layer_norm",
    }
    rows = (
        (
            "attention",
            "_self_attention_layer",
            "_self_attention_dropout",
            "_self_attention_layer_norm",
        ),
        (
            "feed_forward",
            "_feedforward_intermediate_dense",
            "_feedforward_dropout",
            "_feedforward_layer_norm",
        ),
    )

    def normalises_last(self, block: keras.layers.Layer) -> bool:
        """Says whether the block is not one of those that normalise first."""
        return not block.normalize_first

    def block_architecture(self, block: keras.layers.Layer) -> dict[str, Any]:
        """Returns heads, activation and order."""
        return {
            "heads": block.num_heads,
            "activation": self.activation_of(block._feedforward_intermediate_dense),
            "norm_first": not self.normalises_last(block),
        }
