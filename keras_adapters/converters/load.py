"""Loads a pretrained BERT encoder, whatever format it comes in."""

from __future__ import annotations

import os

import safetensors
import tensorflow as tf
from official.nlp.modeling import networks

from keras_adapters.converters.formats import recognise
from keras_adapters.converters.hugging_face import load_hugging_face
from keras_adapters.converters.model_garden import load_model_garden
from keras_adapters.converters.saved_model import load_saved_model
from keras_adapters.converters.tf1 import load_tf1

_LOADERS = {
    "hugging_face": load_hugging_face,
    "tf1": load_tf1,
    "model_garden": load_model_garden,
    "saved_model": load_saved_model,
}
# What the readers raise of a damaged file; TensorFlow's, the last, of one that is cut short.
_DAMAGED = (tf.errors.OpError, safetensors.SafetensorError, IndexError)


def load_encoder(
    path: str | os.PathLike, *, output_range: int | None = None
) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of a checkpoint in any of `formats.FORMATS`.

    Args:
      path: a folder with one checkpoint, or a checkpoint's file or prefix, by which one of
        several in a folder is named.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.

    Returns:
      The built encoder with float32 variables.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: the text says why the checkpoint cannot be loaded.
    """
    try:
        return _LOADERS[recognise(path).format](path, output_range=output_range)
    except _DAMAGED as error:
        raise ValueError(f"{path} is damaged, a file may be cut short: {error}") from error
