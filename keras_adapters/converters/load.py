"""Loads a pretrained BERT encoder, whatever format it comes in."""

from __future__ import annotations

import numbers
import os

from official.nlp.modeling import networks

from keras_adapters.converters.formats import EncoderCheckpoint, recognise
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


def load_encoder(
    path: str | os.PathLike | EncoderCheckpoint, *, output_range: int | None = None
) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of a checkpoint in any of `formats.FORMATS`.

    Args:
      path: a folder with one checkpoint, or a checkpoint's file or prefix, by which one of
        several in a folder is named; or the checkpoint that `formats.recognise` found there.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.

    Returns:
      The built encoder with float32 variables.

    Raises:
      OSError: a file is missing (`FileNotFoundError`) or cannot be read.
      ValueError: the text says why the checkpoint cannot be loaded; of what was inserted
        into an encoder nothing is loaded, so a checkpoint with adapters is refused.
    """
    if output_range is not None:
        whole = isinstance(output_range, numbers.Integral) and not isinstance(output_range, bool)
        if not whole or output_range < 1:
            raise ValueError(
                "`output_range` must be None or a whole number of at least 1. "
                f"Received: output_range={output_range!r}"
            )
        output_range = int(output_range)
    checkpoint = path if isinstance(path, EncoderCheckpoint) else recognise(path)
    return _LOADERS[checkpoint.format](checkpoint, output_range=output_range)
