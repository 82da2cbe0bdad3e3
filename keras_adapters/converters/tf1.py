"""A folder of Google's BERT release into a tf-models-official `BertEncoderV2`.

Format: `bert_config.json` and a TensorFlow 1 checkpoint `bert_model.ckpt` whose variables
have the names of https://github.com/google-research/bert, such as
`bert/encoder/layer_0/attention/self/query/kernel`.
"""

from __future__ import annotations

import re

from official.nlp.modeling import networks

from keras_adapters.converters.building import load_weights
from keras_adapters.converters.formats import EncoderCheckpoint
from keras_adapters.converters.names import google_name
from keras_adapters.converters.shapes import INSERTED, variable_names
from keras_adapters.converters.tf_checkpoint import read_header

_SCOPE = "bert/"
# What an optimiser keeps beside a variable, under the variable's name.
_SLOT = re.compile(r"/(adam|lamb)_[mv]$|/Adam(_1)?$")


def load_tf1(
    checkpoint: EncoderCheckpoint, *, output_range: int | None = None
) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of Google's BERT release.

    Variables outside of `bert/` (heads, the step) and optimiser slots are left behind.

    Args:
      checkpoint: what `formats.recognise` found, of the format `tf1`.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.

    Returns:
      The built encoder with float32 variables.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: the configuration is not BERT's, the encoder has adapters, variables are
        missing, extra or of another shape (all in one error), or as
        `building.load_weights` says.
    """
    stored = read_header(checkpoint.weights, checkpoint.files)
    ours = {google_name(name): name for name in variable_names(checkpoint.config, len(stored))}
    tensors = {}
    for name, tensor in stored.items():
        if (name.startswith(_SCOPE) or INSERTED.search(name)) and not _SLOT.search(name):
            tensors[ours.get(name.removeprefix(_SCOPE), name)] = tensor
    return load_weights(checkpoint, tensors, output_range)
