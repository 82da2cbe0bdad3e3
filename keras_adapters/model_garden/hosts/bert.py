"""BERT, as `BertEncoderV2` and as the functional `BertEncoder`, and what its kin share with it.

`TransformerEncoderBlock.call` applies `_attention_dropout` and `_output_dropout` once
each, right before that sub-layer's residual addition.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import activations
from official.nlp.modeling import layers, networks

from keras_adapters.host import Part, Site, Tap
from keras_adapters.model_garden.hosts.host import Host, activation_of, attention_parts

# Arguments of a block that no encoder sets, and that the variables do not tell of.
_USUAL: Mapping[str, Any] = {
    "use_query_residual": True,
    "use_rms_norm": False,
    "diff_q_kv_att_layer_norm": False,
    "num_kv_heads": None,
    "src_block_size": None,
    "tgt_block_size": None,
    "use_sigmoid_attn": False,
    "sigmoid_attn_bias": None,
    "linformer_dim": None,
    "linformer_shared_kv_projection": True,
}


class BertHost(Host):
    """Either class of BERT, and any encoder of such blocks."""

    family = "bert"
    block_classes = (layers.TransformerEncoderBlock,)

    @property
    def packs(self) -> bool:
        """Whether several texts can share a row; the functional encoder has no other inputs."""
        return self.encoder_class is networks.BertEncoderV2

    def packed_states(
        self,
        encoder: tf_keras.layers.Layer,
        inputs: Mapping[str, tf.Tensor],
        output_range: int | None = None,
    ) -> tf.Tensor:
        """Returns what the encoder's `call` computes, of other positions and another mask."""
        words = encoder._embedding_layer(inputs["input_word_ids"])
        types = encoder._type_embedding_layer(inputs["input_type_ids"])
        table = tf.cast(encoder._position_embedding_layer._position_embeddings, words.dtype)
        states = words + tf.gather(table, inputs["position_ids"]) + types
        states = encoder._embedding_dropout(encoder._embedding_norm_layer(states))
        if encoder._embedding_projection is not None:
            states = encoder._embedding_projection(states)
        numbers = inputs["text_numbers"]
        mask = tf.cast(numbers[:, :, tf.newaxis] == numbers[:, tf.newaxis], states.dtype)
        *lower, last = encoder.transformer_layers
        for block in lower:
            states = block([states, mask])
        return last([states, mask], output_range=output_range)

    def sites(self, block: tf_keras.layers.Layer) -> list[Site]:
        """Returns attention's and the feed-forward network's."""
        rows = (
            ("attention", "_attention_layer", "_attention_dropout", "_attention_layer_norm"),
            ("feed_forward", "_intermediate_dense", "_output_dropout", "_output_layer_norm"),
        )
        width = block._output_dense.kernel.shape[-1]
        return [
            Site(
                name=name,
                place=name,
                input=Tap(getattr(block, first), "input"),
                end=getattr(block, dropout),
                width=width,
                attribute=dropout,
                after=None if block._norm_first else Tap(getattr(block, norm), "output"),
            )
            for name, first, dropout, norm in rows
        ]

    def normalises_last(self, block: tf_keras.layers.Layer) -> bool:
        """Says whether the block is not one of those that normalise first."""
        return not block._norm_first

    def block_parts(self, block: tf_keras.layers.Layer) -> Iterator[Part]:
        """Yields attention's layers, then the feed-forward network's."""
        yield from attention_parts(block._attention_layer)
        yield "attention/layer_norm", block._attention_layer_norm
        yield "intermediate", block._intermediate_dense
        yield "output", block._output_dense
        yield "output/layer_norm", block._output_layer_norm

    def block_architecture(self, block: tf_keras.layers.Layer) -> dict[str, Any]:
        """Returns heads, activation and order, and what is not as in the blocks of BERT."""
        switches = ((name, getattr(block, f"_{name}", usual)) for name, usual in _USUAL.items())
        return {
            "heads": getattr(block._attention_layer, "_num_heads", None),
            "activation": activation_of(block._intermediate_activation_layer),
            "norm_first": bool(block._norm_first),
            **{name: value for name, value in switches if value != _USUAL[name]},
        }

    def to_plain(self, encoder: tf_keras.layers.Layer, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config with a name for the activation that is an encoder's default.

        The default is a lambda, which Keras writes into files and cannot read again; Model
        Garden has the same function under the name `gelu`.
        """
        plain = super().to_plain(encoder, config)
        arguments = inspect.signature(self.encoder_class.__init__).parameters
        default = arguments["inner_activation"].default if "inner_activation" in arguments else None
        if default is not None and self.blocks(encoder)[0]._inner_activation is default:
            plain["inner_activation"] = tf_keras.utils.get_registered_name(activations.gelu)
        return plain
