"""A BERT SavedModel of TensorFlow Hub or Kaggle into a tf-models-official `BertEncoderV2`.

Format: `saved_model.pb`, `variables/` and `assets/vocab.txt` as written by
`official.nlp.tools.export_tfhub_lib.export_model`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from official.nlp.modeling import networks

from keras_adapters.converters.building import load_weights
from keras_adapters.converters.formats import EncoderCheckpoint
from keras_adapters.converters.stored import damaged
from keras_adapters.converters.tf_checkpoint import read_encoder_header, read_header

_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
_LOWER_CASE = "do_lower_case/.ATTRIBUTES/VARIABLE_VALUE"
_TOLERANCE = 1e-4
_SEQUENCE = 16


def load_saved_model(
    checkpoint: EncoderCheckpoint, *, output_range: int | None = None
) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of a BERT SavedModel.

    The sizes and the activation are read off its graph, which is no proof of what it
    computes; so the encoder is held against the SavedModel's own outputs.

    Args:
      checkpoint: what `formats.recognise` found, of the format `saved_model`.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.

    Returns:
      The built encoder with float32 variables.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: the SavedModel holds no BERT encoder or several or one with adapters,
        variables are missing or extra, the encoder's outputs are not those of the
        SavedModel, or as `building.load_weights` says.
    """
    tensors = read_encoder_header(checkpoint.prefix, checkpoint.files)
    encoder = load_weights(checkpoint, tensors, output_range)
    _compare(encoder, checkpoint)
    return encoder


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


def _compare(encoder: networks.BertEncoderV2, checkpoint: EncoderCheckpoint) -> None:
    """Raises unless the SavedModel computes what the encoder does."""
    inputs = _some_inputs(checkpoint.config)
    theirs = _outputs(checkpoint, inputs)
    ours = encoder(inputs, training=False)
    # The signature's names are those of Keras layers, so its outputs are told by their values.
    for expected in (ours["pooled_output"].numpy(), ours["sequence_output"].numpy()[:, :1]):
        alike = [output[:, :1] if output.ndim == 3 else output for output in theirs]
        gaps = [np.abs(o - expected).max() for o in alike if o.shape == expected.shape]
        if not gaps or not min(gaps) < _TOLERANCE:
            raise ValueError(
                f"{checkpoint.folder} computes something else than a BertEncoderV2 with its "
                f"weights and the activation {checkpoint.config['hidden_act']}: outputs differ "
                f"by {min(gaps, default=np.inf):.1e}"
            )


def _outputs(checkpoint: EncoderCheckpoint, inputs: dict[str, tf.Tensor]) -> list[np.ndarray]:
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
        outputs = [output.numpy() for output in signature(**inputs).values()]
    return [output for output in outputs if output.dtype == np.float32]


def _some_inputs(config: dict[str, int]) -> dict[str, tf.Tensor]:
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
    return {name: tf.constant(value, tf.int32) for name, value in zip(_INPUTS, values, strict=True)}
