"""A pretrained BERT as a KerasHub backbone that computes what its checkpoint does.

KerasHub's `BertBackbone` has gelu by tanh and an epsilon of 1e-12 whatever a checkpoint says,
and so has what its own `from_preset` makes of a Hugging Face folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import keras_hub
import numpy as np

from keras_adapters.converters import configs, reading
from keras_adapters.converters.formats import EncoderCheckpoint, recognise
from keras_adapters.keras_hub.exact_bert import ExactBertBackbone
from keras_adapters.methods.checks import whole_number
from keras_adapters.variables import encoder_variables
from keras_adapters.vocabulary import read_vocabulary

# The activation and the epsilon that KerasHub's own class has.
_USUAL = ("gelu_new", 1e-12)
_INPUTS = {
    "token_ids": "input_word_ids",
    "padding_mask": "input_mask",
    "segment_ids": "input_type_ids",
}


def load_backbone(
    path: str | os.PathLike | EncoderCheckpoint, dtype: Any = None
) -> keras_hub.models.BertBackbone:
    """Builds a KerasHub BERT with the weights of a checkpoint in any of `formats.FORMATS`.

    It computes what `load_encoder` of the same checkpoint does: the activation and the epsilon
    are the checkpoint's. Where these are KerasHub's own, gelu by tanh and 1e-12, its class is
    KerasHub's own too. Hugging Face's format needs no TensorFlow.

    Args:
      path: as `load_encoder` takes it.
      dtype: the backbone's dtype or policy, such as `"mixed_bfloat16"`; by default Keras's own.

    Returns:
      The built backbone. From `token_ids`, `segment_ids` and `padding_mask`, each
      `<int32>[batch, length]`, to `sequence_output`, `[batch, length, hidden]`, and
      `pooled_output`, `[batch, hidden]`. `dropout`, which KerasHub has one rate of, is
      `hidden_dropout_prob`.

    Raises:
      OSError: a file is missing (`FileNotFoundError`) or cannot be read.
      ValueError: the text says why the checkpoint cannot be loaded; so it is where the
        checkpoint is not BERT's, has word embeddings of another width than `hidden_size`, or
        has adapters: load its base, then the adapter file.
    """
    checkpoint = path if isinstance(path, EncoderCheckpoint) else recognise(path)
    config = _read_config(checkpoint)
    tensors = reading.read_tensors(checkpoint, config)
    backbone = _build(config, dtype)
    for name, variable in encoder_variables(backbone).items():
        variable.assign(tensors[name].values().reshape(variable.shape))
    if checkpoint.format == "saved_model":
        from keras_adapters.converters.saved_model import check_outputs

        check_outputs(checkpoint, lambda inputs: _compute(backbone, inputs))
    return backbone


def load_preprocessor(
    path: str | os.PathLike | EncoderCheckpoint, sequence_length: int
) -> keras_hub.models.BertTextClassifierPreprocessor:
    """Makes what turns raw text into the inputs of the backbone that `load_backbone` makes.

    The tokenizer is KerasHub's. Its uncased form strips accents here, as BERT does; unlike
    BERT, and `BertPreprocessor`, it also takes ligatures, ellipses and fractions apart.

    Args:
      path: as `load_backbone` takes it.
      sequence_length: tokens of each text, the special ones included; 3 or more, and no more
        than the encoder has positions.

    Raises:
      OSError: a file is missing (`FileNotFoundError`) or cannot be read.
      ValueError: the vocabulary is none, or longer than the embedding, or lacks a special
        token; or `sequence_length` is out of its range.
    """
    checkpoint = path if isinstance(path, EncoderCheckpoint) else recognise(path)
    config = _read_config(checkpoint)
    longest = config["max_position_embeddings"]
    if whole_number("sequence_length", sequence_length, 3) > longest:
        raise ValueError(
            f"`sequence_length` must be at most {longest}, the encoder's positions. "
            f"Received: sequence_length={sequence_length}"
        )
    vocabulary = read_vocabulary(checkpoint.vocab_file)
    if len(vocabulary) > config["vocab_size"]:
        raise ValueError(
            f"{checkpoint.vocab_file} has {len(vocabulary)} tokens, but the encoder embeds "
            f"{config['vocab_size']}"
        )
    lower_case = reading.lower_case_of(checkpoint, vocabulary)
    try:
        tokenizer = keras_hub.tokenizers.BertTokenizer(
            vocabulary, lowercase=lower_case, strip_accents=lower_case
        )
    except (ValueError, RuntimeError) as error:  # A token is longer than it can hold.
        raise ValueError(f"{checkpoint.vocab_file} is no vocabulary of BERT: {error}") from error
    return keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length)


def _read_config(checkpoint: EncoderCheckpoint) -> dict[str, Any]:
    """Returns a checkpoint's settings, of which KerasHub's BERT can have every epsilon."""
    if checkpoint.format == "hugging_face":
        config = configs.read_hugging_face_config(checkpoint.folder, any_norm_epsilon=True)
    else:
        config = checkpoint.config
    if config["embedding_size"] != config["hidden_size"]:
        raise ValueError(
            f"{checkpoint.folder}: `embedding_size` must be `hidden_size`, for KerasHub's BERT "
            "has no projection between the two. Received: "
            f"{config['embedding_size']} and {config['hidden_size']}"
        )
    return config


def _build(config: Mapping[str, Any], dtype: Any) -> keras_hub.models.BertBackbone:
    arguments = {
        "vocabulary_size": config["vocab_size"],
        "num_layers": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "hidden_dim": config["hidden_size"],
        "intermediate_dim": config["intermediate_size"],
        "dropout": config["hidden_dropout_prob"],
        "max_sequence_length": config["max_position_embeddings"],
        "num_segments": config["type_vocab_size"],
        "dtype": dtype,
    }
    activation, epsilon = config["hidden_act"], config.get("layer_norm_eps", _USUAL[1])
    if (activation, epsilon) == _USUAL:
        return keras_hub.models.BertBackbone(**arguments)
    return ExactBertBackbone(
        **arguments,
        activation=None if activation == _USUAL[0] else activation,
        layer_norm_epsilon=epsilon,
    )


def _compute(
    backbone: keras_hub.models.BertBackbone, inputs: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a backbone's pooled output and sequence output."""
    outputs = backbone({ours: inputs[name] for ours, name in _INPUTS.items()}, training=False)
    convert = keras.ops.convert_to_numpy
    return convert(outputs["pooled_output"]), convert(outputs["sequence_output"])
