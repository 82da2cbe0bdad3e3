"""The tensors of a folder of Google's BERT release.

Format: `bert_config.json` and a TensorFlow 1 checkpoint `bert_model.ckpt` whose variables
have the names of https://github.com/google-research/bert, such as
`bert/encoder/layer_0/attention/self/query/kernel`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from keras_adapters.converters.formats import EncoderCheckpoint
from keras_adapters.converters.names import google_name
from keras_adapters.converters.shapes import INSERTED, variable_names
from keras_adapters.converters.stored import StoredTensor
from keras_adapters.converters.tf_checkpoint import read_header

_SCOPE = "bert/"
# What an optimiser keeps beside a variable, under the variable's name.
_SLOT = re.compile(r"/(adam|lamb)_[mv]$|/Adam(_1)?$")


def read_tensors(
    checkpoint: EncoderCheckpoint, config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    """Finds the tensors of a BERT in Google's checkpoint.

    Variables outside of `bert/` (heads, the step) and optimiser slots are left behind.

    Args:
      checkpoint: what `formats.recognise` found, of the format `tf1`.
      config: its settings.

    Returns:
      Tensors by the names of `shapes.variable_shapes`, and others by their own.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: the checkpoint is damaged.
    """
    stored = read_header(checkpoint.weights, checkpoint.files)
    ours = {google_name(name): name for name in variable_names(config, len(stored))}
    tensors = {}
    for name, tensor in stored.items():
        if (name.startswith(_SCOPE) or INSERTED.search(name)) and not _SLOT.search(name):
            tensors[ours.get(name.removeprefix(_SCOPE), name)] = tensor
    return tensors
