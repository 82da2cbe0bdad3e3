"""A `BertEncoderV2` from the settings and the tensors of a checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from official.modeling import activations
from official.nlp.modeling import networks

from keras_adapters.converters.stored import StoredTensor
from keras_adapters.variables import encoder_variables

_ACTIVATIONS = {"gelu": "gelu", "gelu_new": activations.gelu, "relu": "relu", "silu": "silu"}


def build_encoder(config: Mapping[str, Any], output_range: int | None) -> networks.BertEncoderV2:
    """Returns a built encoder with float32 variables, all of them 0.

    Random values would be drawn for nothing, which takes seconds of a BERT-base. So it would
    take AutoGraph to convert the encoder's code, in which nothing depends on a tensor's value.

    Args:
      config: the settings that `converters.configs` speaks of.
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
    with tf.variable_creator_scope(_zeros):
        tf.autograph.experimental.do_not_convert(encoder)(encoder.inputs)
    return encoder


def _zeros(create: Callable[..., tf.Variable], **kwargs: Any) -> tf.Variable:
    """Creates a weight full of zeros; what else is created, such as a seed, stays as it is."""
    shape, dtype = kwargs.get("shape"), kwargs.get("dtype")
    if shape is not None and dtype is not None and tf.as_dtype(dtype).is_floating:
        kwargs["initial_value"] = functools.partial(tf.zeros, shape, dtype)
    return create(**kwargs)


def load_weights(
    config: Mapping[str, Any], tensors: Mapping[str, StoredTensor], output_range: int | None
) -> networks.BertEncoderV2:
    """Builds the encoder of a checkpoint and reads its weights.

    Args:
      config: the settings that `converters.configs` speaks of.
      tensors: what `reading.read_tensors` found of these settings.
      output_range: as `build_encoder` takes it.

    Raises:
      ValueError: a tensor holds NaN or infinity, or cannot be read.
    """
    encoder = build_encoder(config, output_range)
    for name, variable in encoder_variables(encoder).items():
        variable.assign(tensors[name].values().reshape(variable.shape.as_list()))
    return encoder
