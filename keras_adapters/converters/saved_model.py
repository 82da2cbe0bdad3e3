"""The tensors of a BERT SavedModel of TensorFlow Hub or Kaggle, and what it computes.

Format: `saved_model.pb`, `variables/` and `assets/vocab.txt` as written by
`official.nlp.tools.export_tfhub_lib.export_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_adapters.converters.formats import EncoderCheckpoint
from keras_adapters.converters.stored import StoredTensor, damaged
from keras_adapters.converters.tf_checkpoint import read_encoder_header, read_header

Compute = Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]

_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
_LOWER_CASE = "do_lower_case/.ATTRIBUTES/VARIABLE_VALUE"
_TOLERANCE = 1e-4
_SEQUENCE = 16


def read_tensors(
    checkpoint: EncoderCheckpoint, config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    """Finds the tensors of the one BERT in a SavedModel, by their places in it.

    The sizes and the activation are read off its graph, which is no proof of what it
    computes: `check_outputs` holds an encoder against it.

    Args:
      checkpoint: what `formats.recognise` found, of the format `saved_model`.
      config: its settings, of which the places do not depend.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: the SavedModel is damaged, or holds no BERT encoder or several.
    """
    return read_encoder_header(checkpoint.prefix, checkpoint.files)


def read_lower_case(checkpoint: EncoderCheckpoint) -> bool | None:
    """Returns whether a SavedModel says that its text is to be lower-cased; None if it does not.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: its variables are damaged, or it says something else than true or false.
    """
    said = read_header(checkpoint.prefix, checkpoint.files).get(_LOWER_CASE)
    if said is None:
        return None
    if (said.shape, said.dtype) != ((), "bool"):
        raise ValueError(
            f"{said.place} must be true or false. Received: {said.dtype} of shape {said.shape}"
        )
    return bool(said.read())


def check_outputs(checkpoint: EncoderCheckpoint, compute: Compute) -> None:
    """Raises a ValueError unless a SavedModel computes what an encoder does.

    Args:
      checkpoint: the SavedModel.
      compute: returns what the encoder with its weights gives for `input_word_ids`,
        `input_mask` and `input_type_ids`, each `<int32>[batch, length]`: the pooled output,
        `<float32>[batch, hidden]`, and the sequence output, `<float32>[batch, length, hidden]`,
        of which one position is enough.

    Raises:
      ValueError: the outputs differ, or the SavedModel has another signature or is damaged.
    """
    inputs = _some_inputs(checkpoint.config)
    theirs = _outputs(checkpoint, inputs)
    pooled, sequence = compute(inputs)
    # The signature's names are those of Keras layers, so its outputs are told by their values.
    for expected in (pooled, sequence[:, :1]):
        alike = [output[:, :1] if output.ndim == 3 else output for output in theirs]
        gaps = [np.abs(o - expected).max() for o in alike if o.shape == expected.shape]
        if not gaps or not min(gaps) < _TOLERANCE:
            raise ValueError(
                f"{checkpoint.folder} computes something else than a BERT with its "
                f"weights and the activation {checkpoint.config['hidden_act']}: outputs differ "
                f"by {min(gaps, default=np.inf):.1e}"
            )


def _outputs(checkpoint: EncoderCheckpoint, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns what a SavedModel computes of some inputs, as far as it is float32."""
    with damaged(checkpoint.weights):
        loaded = tf.saved_model.load(str(checkpoint.folder))
        signature = loaded.signatures.get("serving_default")
        names = signature.structured_input_signature[1] if signature else {}
    if set(names) != set(_INPUTS):
        raise ValueError(
            f"{checkpoint.folder}: the signature serving_default must take "
            f"{', '.join(_INPUTS)}. Received: {', '.join(names) or 'no such signature'}"
        )
    with damaged(checkpoint.weights):
        given = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = [output.numpy() for output in signature(**given).values()]
    return [output for output in outputs if output.dtype == np.float32]


def _some_inputs(config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns two sequences of tokens from all over the vocabulary, the second one padded."""
    length = min(_SEQUENCE, config["max_position_embeddings"])
    shape = (2, length)
    rng = np.random.default_rng(0)
    mask = np.ones(shape, np.int32)
    mask[1, length // 2 :] = 0
    values = (
        rng.integers(config["vocab_size"], size=shape) * mask,
        mask,
        rng.integers(config["type_vocab_size"], size=shape) * mask,
    )
    return {name: value.astype(np.int32) for name, value in zip(_INPUTS, values, strict=True)}
