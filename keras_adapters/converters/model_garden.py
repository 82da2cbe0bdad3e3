"""A TensorFlow Model Garden BERT checkpoint into a tf-models-official `BertEncoderV2`.

Format: a TensorFlow 2 checkpoint of a `BertEncoderV2` or a functional `BertEncoder`, alone or
inside the model that pretrained or fine-tuned it (`tf.train.Checkpoint(model=...)` or
`(encoder=...)`, `BertPretrainerV2.checkpoint_items`), beside its `bert_config.json` or the
YAML file of its experiment.
"""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf
from official.nlp.modeling import networks
from tensorflow.core.protobuf import trackable_object_graph_pb2

from keras_adapters.converters.building import assign_weights, build_encoder
from keras_adapters.converters.formats import recognise
from keras_adapters.converters.object_graph import find_encoder_variables

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def load_model_garden(
    path: str | os.PathLike, *, output_range: int | None = None
) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of a Model Garden checkpoint.

    Args:
      path: the folder, or the checkpoint's prefix where the folder holds several.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.

    Returns:
      The built encoder with float32 variables.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: the configuration is not BERT's, the checkpoint holds no BERT encoder or
        several, or variables are missing, extra or of another shape (all in one error).
    """
    checkpoint = recognise(path, only="model_garden")
    encoder = build_encoder(checkpoint.config, output_range)
    values = read_encoder_variables(str(checkpoint.weights))
    assign_weights(encoder, values, str(checkpoint.weights))
    return encoder


def read_encoder_variables(prefix: str) -> dict[str, np.ndarray]:
    """Reads the variables of the one BERT encoder in a TensorFlow 2 checkpoint.

    Args:
      prefix: the checkpoint's path, without `.index`.

    Returns:
      Arrays by the names of `encoder_variables`, as far as they are there.

    Raises:
      ValueError: the checkpoint holds no BERT encoder, or several.
    """
    reader = tf.train.load_checkpoint(prefix)
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor(_OBJECT_GRAPH)
    )
    nodes = find_encoder_variables(graph, prefix)
    return {
        name: reader.get_tensor(graph.nodes[node].attributes[0].checkpoint_key)
        for name, node in nodes.items()
    }
