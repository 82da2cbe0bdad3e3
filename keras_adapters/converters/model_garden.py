"""A TensorFlow Model Garden BERT checkpoint into a tf-models-official `BertEncoderV2`.

Format: a TensorFlow 2 checkpoint of a `BertEncoderV2` or a functional `BertEncoder`, alone or
inside the model that pretrained or fine-tuned it (`tf.train.Checkpoint(model=...)` or
`(encoder=...)`, `BertPretrainerV2.checkpoint_items`), beside its `bert_config.json` or the
YAML file of its experiment.
"""

from __future__ import annotations

from official.nlp.modeling import networks

from keras_adapters.converters.building import load_weights
from keras_adapters.converters.formats import EncoderCheckpoint
from keras_adapters.converters.tf_checkpoint import read_encoder_header


def load_model_garden(
    checkpoint: EncoderCheckpoint, *, output_range: int | None = None
) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of a Model Garden checkpoint.

    Args:
      checkpoint: what `formats.recognise` found, of the format `model_garden`.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.

    Returns:
      The built encoder with float32 variables.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: the configuration is not BERT's, the checkpoint holds no BERT encoder or
        several or one with adapters, variables are missing, extra or of another shape (all
        in one error), or as `building.load_weights` says.
    """
    tensors = read_encoder_header(checkpoint.weights, checkpoint.files)
    return load_weights(checkpoint, tensors, output_range)
