"""Llama, Mistral and Qwen: decoders of one block, with its own class in each family.

The block applies `_self_attention_dropout` right before that sub-layer's residual addition. The
feed-forward network's sub-layer, which is gated, ends in a projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras_hub.src.models.llama.llama_decoder import LlamaTransformerDecoder
from keras_hub.src.models.llama.llama_layernorm import LlamaLayerNorm
from keras_hub.src.models.mistral.mistral_layer_norm import MistralLayerNormalization
from keras_hub.src.models.mistral.mistral_transformer_decoder import MistralTransformerDecoder
from keras_hub.src.models.qwen.qwen_decoder import QwenTransformerDecoder
from keras_hub.src.models.qwen.qwen_layernorm import QwenLayerNorm
from keras_hub.src.models.qwen3.qwen3_decoder import Qwen3TransformerDecoder
from keras_hub.src.models.qwen3.qwen3_layernorm import Qwen3LayerNorm

from keras_adapters.keras_hub.hosts.host import Host
from keras_adapters.keras_hub.hosts.transformer import ATTENTION


class LlamaHost(Host):
    """`LlamaBackbone` and `Llama3Backbone`, and what the others share with them."""

    family = "llama"
    block_classes = (LlamaTransformerDecoder,)
    norm_classes = (*Host.norm_classes, LlamaLayerNorm)
    embeddings: Mapping[str, str] = {"embeddings/word": "token_embedding"}
    parts: Mapping[str, str] = {
        **ATTENTION,
        "attention/layer_norm": "_self_attention_layernorm",
        "intermediate": "_feedforward_intermediate_dense",
        "gate": "_feedforward_gate_dense",
        "output": "_feedforward_output_dense",
        "output/layer_norm": "_feedforward_layernorm",
    }
    top: Mapping[str, str] = {"layer_norm": "layer_norm"}
    rows = (
        (
            "attention",
            "_self_attention_layer",
            "_self_attention_dropout",
            "_self_attention_layernorm",
        ),
        (
            "feed_forward",
            "_feedforward_gate_dense",
            "_feedforward_output_dense",
            "_feedforward_layernorm",
        ),
    )
    # What the rotary embedding of positions is told.
    rope: tuple[str, ...] = (
        "max_wavelength",
        "position_scaling_factor",
        "frequency_adjustment_factor",
        "low_freq_factor",
        "high_freq_factor",
        "pretraining_sequence_length",
    )

    def normalises_last(self, block: keras.layers.Layer) -> bool:
        """Says that the block normalises before its sub-layers."""
        return False

    def block_architecture(self, block: keras.layers.Layer) -> dict[str, Any]:
        """Returns heads, activation, order, and how far and by what angles positions see."""
        rotary = block._self_attention_layer.rotary_embedding_layer
        told = {name: getattr(rotary, name) for name in self.rope}
        return {
            "heads": block.num_query_heads,
            "key_value_heads": block.num_key_value_heads,
            "activation": self.activation_of(block),
            "norm_first": True,
            # Numbers of one type, as JSON tells 1 from 1.0.
            "rope": {name: None if value is None else float(value) for name, value in told.items()},
            "sliding_window": self.sliding_window(block),
        }

    def sliding_window(self, block: keras.layers.Layer) -> int | None:
        """Returns how many positions a position sees; None where it sees all to its left."""
        return None


class MistralHost(LlamaHost):
    """`MistralBackbone`."""

    family = "mistral"
    block_classes = (MistralTransformerDecoder,)
    norm_classes = (*Host.norm_classes, MistralLayerNormalization)
    rope = ("max_wavelength", "scaling_factor")

    def sliding_window(self, block: keras.layers.Layer) -> int | None:
        """Returns how many positions a position sees."""
        return block.sliding_window


class QwenHost(LlamaHost):
    """`QwenBackbone`, of Qwen 2."""

    family = "qwen"
    block_classes = (QwenTransformerDecoder,)
    norm_classes = (*Host.norm_classes, QwenLayerNorm)
    rope = ("max_wavelength", "scaling_factor")

    def sliding_window(self, block: keras.layers.Layer) -> int | None:
        """Returns how many positions a position sees."""
        attention = block._self_attention_layer
        return attention.sliding_window_size if attention.use_sliding_window_attention else None


class Qwen3Host(LlamaHost):
    """`Qwen3Backbone`, which normalises queries and keys too."""

    family = "qwen3"
    block_classes = (Qwen3TransformerDecoder,)
    norm_classes = (*Host.norm_classes, Qwen3LayerNorm)
    parts: Mapping[str, str] = {
        **LlamaHost.parts,
        "attention/query/layer_norm": "_self_attention_layer._query_dense_layer_norm",
        "attention/key/layer_norm": "_self_attention_layer._key_dense_layer_norm",
    }
    rope = ("max_wavelength", "scaling_factor")

    def sliding_window(self, block: keras.layers.Layer) -> int | None:
        """Returns how many positions a position sees."""
        return block._self_attention_layer.sliding_window_size or None
