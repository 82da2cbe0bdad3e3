"""TensorFlow's checkpoints: their tensors, and the BERT in the object graph of TensorFlow 2's."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from keras_adapters.converters.object_graph import VALUE, find_encoder_variables
from keras_adapters.converters.stored import StoredTensor, check_readable, damaged

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def read_header(prefix: pathlib.Path, files: Sequence[pathlib.Path]) -> dict[str, StoredTensor]:
    """Reads which tensors a checkpoint holds.

    Args:
      prefix: the checkpoint's path, without `.index`.
      files: the files that make it.

    Raises:
      OSError: a file cannot be read.
      ValueError: the index is damaged.
    """
    check_readable(files)

    def read(name: str):
        with damaged(prefix):
            return reader.get_tensor(name)

    with damaged(prefix):
        reader = tf.train.load_checkpoint(str(prefix))
        dtypes = reader.get_variable_to_dtype_map()
        return {
            name: StoredTensor(
                f"{prefix}: {name}", tuple(shape), dtypes[name].name, functools.partial(read, name)
            )
            for name, shape in reader.get_variable_to_shape_map().items()
        }


def read_encoder_header(
    prefix: pathlib.Path, files: Sequence[pathlib.Path]
) -> dict[str, StoredTensor]:
    """Reads which tensors the one BERT encoder in a TensorFlow 2 checkpoint has.

    Args:
      prefix: the checkpoint's path, without `.index`.
      files: the files that make it.

    Returns:
      Tensors by the names that `find_encoder_variables` gives them.

    Raises:
      OSError: a file cannot be read.
      ValueError: the checkpoint is damaged, or holds no BERT encoder, or several.
    """
    tensors = read_header(prefix, files)
    stored = tensors.get(_OBJECT_GRAPH)
    if stored is None or (stored.shape, stored.dtype) != ((), "string"):
        raise ValueError(f"{prefix} is no TensorFlow 2 checkpoint: it has no graph of its objects")
    content = stored.read()
    with damaged(prefix):
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(content)
    found = {}
    for name, node in find_encoder_variables(graph, str(prefix)).items():
        keys = [a.checkpoint_key for a in graph.nodes[node].attributes if a.name == VALUE]
        if keys and keys[0] in tensors:
            found[name] = tensors[keys[0]]
    return found
