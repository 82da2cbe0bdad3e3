"""What a BERT is, from a SavedModel's `saved_model.pb`; needs no TensorFlow.

Importing TensorFlow's own classes for this file means importing TensorFlow, which takes
seconds; so the few fields that matter are declared here, with TensorFlow's numbers
(tensorflow/core/protobuf/saved_model.proto and what it includes).
"""

from __future__ import annotations

import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from keras_adapters.converters.configs import settle
from keras_adapters.converters.object_graph import find_encoder_variables
from keras_adapters.converters.shapes import check_base, check_shapes

# Message: its fields as (name, number, type); a type ending in * is repeated.
_MESSAGES = {
    "SavedModel": [("meta_graphs", 2, "MetaGraph*")],
    "MetaGraph": [("graph", 2, "Graph"), ("object_graph", 7, "ObjectGraph")],
    "Graph": [("node", 1, "Node*"), ("library", 2, "Library")],
    "Library": [("function", 1, "Function*")],
    "Function": [("node", 3, "Node*")],
    "Node": [("op", 2, "string")],
    "ObjectGraph": [("nodes", 1, "Object*")],
    "Object": [("children", 1, "Child*"), ("variable", 7, "Variable")],
    "Child": [("node_id", 1, "int"), ("local_name", 2, "string")],
    "Variable": [("shape", 2, "Shape")],
    "Shape": [("dim", 2, "Dimension*")],
    "Dimension": [("size", 1, "int")],
}
# An operation that only this activation of a BERT uses. A softmax or tanh tells nothing.
_ACTIVATION_OF_OP = {"Erf": "gelu", "Erfc": "gelu", "Pow": "gelu_new", "Relu": "relu"}
_ACTIVATION_OF_OP["Sigmoid"] = "silu"
_BERT_DROPOUT = 0.1


def read_saved_model_config(path: pathlib.Path) -> dict[str, Any]:
    """Reads the sizes and the activation of the BERT encoder in a SavedModel.

    Dropout is not written there; it is BERT's own, 0.1.

    Args:
      path: the `saved_model.pb` of a model from TensorFlow Hub or Kaggle, as
        tf-models-official's `export_tfhub_lib` writes it.

    Returns:
      The settings that `converters.configs` speaks of.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file is no SavedModel, or has not one BERT encoder in it, or one with
        adapters.
    """
    try:
        meta_graph = _message_class("SavedModel").FromString(path.read_bytes()).meta_graphs[0]
    except (message.DecodeError, IndexError) as error:
        raise ValueError(f"{path} is not a SavedModel: {error}") from error
    nodes = find_encoder_variables(meta_graph.object_graph, str(path))
    check_base(nodes, str(path))
    objects = meta_graph.object_graph.nodes
    shapes = {
        name: tuple(dimension.size for dimension in objects[node].variable.shape.dim)
        for name, node in nodes.items()
    }
    try:
        vocab_size, embedding_size = shapes["embeddings/word"]
        hidden_size, heads, _ = shapes["layer_0/attention/query/kernel"]
        sizes = {
            "vocab_size": vocab_size,
            "embedding_size": embedding_size,
            "hidden_size": hidden_size,
            "num_hidden_layers": sum(name.endswith("/query/kernel") for name in shapes),
            "num_attention_heads": heads,
            "intermediate_size": shapes["layer_0/intermediate/kernel"][1],
            "max_position_embeddings": shapes["embeddings/position"][0],
            "type_vocab_size": shapes["embeddings/type"][0],
        }
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: the encoder in it is not a BERT: {error!r}") from error
    rates = {"hidden_dropout_prob": _BERT_DROPOUT, "attention_probs_dropout_prob": _BERT_DROPOUT}
    activation = _activation(path, meta_graph)
    config = settle(path, {**sizes, **rates, "hidden_act": activation}, {activation: activation})
    check_shapes(config, shapes, str(path))
    return config


def _activation(path: pathlib.Path, meta_graph: Any) -> str:
    graphs = [meta_graph.graph, *meta_graph.graph.library.function]
    ops = {node.op for graph in graphs for node in graph.node}
    found = {name for op, name in _ACTIVATION_OF_OP.items() if op in ops}
    if len(found) != 1:
        raise ValueError(
            f"{path}: the operations in it do not tell the activation. "
            f"Found those of: {', '.join(sorted(found)) or 'none'}"
        )
    return found.pop()


def _message_class(name: str) -> type[message.Message]:
    file = descriptor_pb2.FileDescriptorProto(name="keras_adapters", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"string": kinds.TYPE_STRING, "int": kinds.TYPE_INT64}
    for title, fields in _MESSAGES.items():
        described = file.message_type.add(name=title)
        for label, number, kind in fields:
            field = described.field.add(name=label, number=number)
            field.label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            field.type = scalars.get(kind, kinds.TYPE_MESSAGE)
            if kind not in scalars:
                field.type_name = "." + kind.removesuffix("*")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
