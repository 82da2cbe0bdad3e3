"""A `BertEncoderV2` from the settings that `converters.configs` speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from official.modeling import activations
from official.nlp.modeling import networks

from keras_adapters.model_garden.variables import assign_all, encoder_variables

_ACTIVATIONS = {"gelu": "gelu", "gelu_new": activations.gelu, "relu": "relu", "silu": "silu"}


def build_encoder(config: Mapping[str, Any], output_range: int | None) -> networks.BertEncoderV2:
    """Returns a built encoder with fresh float32 variables.

    Args:
      config: the settings.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.
    """
    encoder = networks.BertEncoderV2(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        num_attention_heads=config["num_attention_heads"],
        max_sequence_length=config["max_position_embeddings"],
        type_vocab_size=config["type_vocab_size"],
        inner_dim=config["intermediate_size"],
        inner_activation=_ACTIVATIONS[config["hidden_act"]],
        output_dropout=config["hidden_dropout_prob"],
        attention_dropout=config["attention_probs_dropout_prob"],
        embedding_width=config["embedding_size"],
        output_range=output_range,
        name="encoder",
    )
    encoder(encoder.inputs)
    return encoder


def assign_weights(
    encoder: networks.BertEncoderV2, values: Mapping[str, np.ndarray], source: str
) -> None:
    """Sets every variable of an encoder, or none.

    Args:
      encoder: a built encoder.
      values: arrays by the names of `encoder_variables`; attention's may come with the
        axes of heads and head size as one.
      source: the file that the values are from, for the error.

    Raises:
      ValueError: names are missing, names are extra or shapes differ; all in one error.
    """
    variables = encoder_variables(encoder)
    fitted = dict(values)
    for name in set(variables) & set(values):
        shape, value = variables[name].shape.as_list(), values[name]
        if "/attention/" in name and value.ndim < len(shape) and value.size == np.prod(shape):
            fitted[name] = value.reshape(shape)
    assign_all(variables, fitted, source)
