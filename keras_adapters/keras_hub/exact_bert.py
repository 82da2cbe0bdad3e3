"""KerasHub's BERT with the activation and the epsilon that a checkpoint says."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub


@keras.saving.register_keras_serializable(package="keras_adapters", name="ExactBertBackbone")
class ExactBertBackbone(keras_hub.models.BertBackbone):
    """A `keras_hub.models.BertBackbone` with an activation and an epsilon of its own.

    KerasHub's has gelu by tanh and 1e-12. What it has instead is part of its config, and so of
    a `.keras` file, of a preset and of a copy; its files of weights are those of a
    `BertBackbone`, whose name it has.

    Args:
      activation: the feed-forward networks', as `keras.activations.get` takes it; `None` is
        KerasHub's.
      layer_norm_epsilon: every LayerNorm's.

    The other arguments, and shapes, are those of `keras_hub.models.BertBackbone`.

    Example:
    >>> backbone = ExactBertBackbone(30522, 12, 12, 768, 3072, activation="gelu")
    >>> backbone.get_config()["activation"]
    'gelu'
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        max_sequence_length: int = 512,
        num_segments: int = 2,
        dtype: Any = None,
        *,
        activation: Any = None,
        layer_norm_epsilon: float = 1e-12,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            vocabulary_size,
            num_layers,
            num_heads,
            hidden_dim,
            intermediate_dim,
            dropout=dropout,
            max_sequence_length=max_sequence_length,
            num_segments=num_segments,
            dtype=dtype,
            **kwargs,
        )
        if activation is None:
            activation = self.transformer_layers[0].activation
        self.activation = keras.activations.get(activation)
        self.layer_norm_epsilon = layer_norm_epsilon
        self.embeddings_layer_norm.epsilon = layer_norm_epsilon
        # A block's own attributes are its config; the layers inside are what computes.
        for block in self.transformer_layers:
            block.activation = self.activation
            block._feedforward_intermediate_dense.activation = self.activation
            block.layer_norm_epsilon = layer_norm_epsilon
            block._self_attention_layer_norm.epsilon = layer_norm_epsilon
            block._feedforward_layer_norm.epsilon = layer_norm_epsilon

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }


# Keras names layers, and their places in files of weights, after their class.
ExactBertBackbone.__name__ = keras_hub.models.BertBackbone.__name__
