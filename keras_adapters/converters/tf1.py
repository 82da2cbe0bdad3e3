"""A folder of Google's BERT release into a tf-models-official `BertEncoderV2`.

Format: `bert_config.json` and a TensorFlow 1 checkpoint `bert_model.ckpt` whose variables
have the names of https://github.com/google-research/bert, such as
`bert/encoder/layer_0/attention/self/query/kernel`.
"""

from __future__ import annotations

import os
import re

import tensorflow as tf
from official.nlp.modeling import networks

from keras_adapters.converters.building import assign_weights, build_encoder
from keras_adapters.converters.formats import recognise
from keras_adapters.converters.names import google_name
from keras_adapters.model_garden.variables import encoder_variables

_SCOPE = "bert/"
# What an optimiser keeps beside a variable, under the variable's name.
_SLOT = re.compile(r"/(adam|lamb)_[mv]$|/Adam(_1)?$")


def load_tf1(path: str | os.PathLike, *, output_range: int | None = None) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of Google's BERT release.

    Variables outside of `bert/` (heads, the step) and optimiser slots are left behind.

    Args:
      path: the folder, or the checkpoint's prefix where the folder holds several.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.

    Returns:
      The built encoder with float32 variables.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: the configuration is not BERT's, or variables are missing, extra or of
        another shape (all in one error).
    """
    checkpoint = recognise(path, only="tf1")
    encoder = build_encoder(checkpoint.config, output_range)
    reader = tf.train.load_checkpoint(str(checkpoint.weights))
    sources = {
        name.removeprefix(_SCOPE): name
        for name in reader.get_variable_to_shape_map()
        if name.startswith(_SCOPE) and not _SLOT.search(name)
    }
    ours = {google_name(name): name for name in encoder_variables(encoder)}
    values = {ours.get(short, name): reader.get_tensor(name) for short, name in sources.items()}
    assign_weights(encoder, values, str(checkpoint.weights))
    return encoder
