"""Loads a pretrained BERT encoder, whatever format it comes in."""

from __future__ import annotations

import functools
import numbers
import os
from collections.abc import Mapping

import numpy as np
from official.nlp.modeling import networks

from keras_adapters.converters.building import load_weights
from keras_adapters.converters.formats import EncoderCheckpoint, recognise
from keras_adapters.converters.reading import read_tensors
from keras_adapters.converters.saved_model import check_outputs


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
    config = checkpoint.config
    encoder = load_weights(config, read_tensors(checkpoint, config), output_range)
    if checkpoint.format == "saved_model":
        check_outputs(checkpoint, functools.partial(_compute, encoder))
    return encoder


def _compute(
    encoder: networks.BertEncoderV2, inputs: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns an encoder's pooled output and sequence output."""
    outputs = encoder(dict(inputs), training=False)
    return outputs["pooled_output"].numpy(), outputs["sequence_output"].numpy()
