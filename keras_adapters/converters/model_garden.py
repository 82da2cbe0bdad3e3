"""The tensors of a TensorFlow Model Garden BERT checkpoint.

Format: a TensorFlow 2 checkpoint of a `BertEncoderV2` or a functional `BertEncoder`, alone or
inside the model that pretrained or fine-tuned it (`tf.train.Checkpoint(model=...)` or
`(encoder=...)`, `BertPretrainerV2.checkpoint_items`), beside its `bert_config.json` or the
YAML file of its experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_adapters.converters.formats import EncoderCheckpoint
from keras_adapters.converters.stored import StoredTensor
from keras_adapters.converters.tf_checkpoint import read_encoder_header


def read_tensors(
    checkpoint: EncoderCheckpoint, config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    """Finds the tensors of the one BERT in a checkpoint, by their places in it.

    Args:
      checkpoint: what `formats.recognise` found, of the format `model_garden`.
      config: its settings, of which the places do not depend.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: the checkpoint is damaged, or holds no BERT encoder or several.
    """
    return read_encoder_header(checkpoint.weights, checkpoint.files)
