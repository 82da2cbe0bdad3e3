"""Finds a BERT encoder's variables in the object graph of a TensorFlow 2 checkpoint or SavedModel.

Both store which Python object held which, under which attribute; so variables are found by
the attributes of tf-models-official's classes. `BertEncoderV2` is a layer whose parts are
attributes. `BertEncoder` is a functional model whose parts are also numbered, as
`layer_with_weights-0` and so on; before 2021 it had no attributes beside the numbers.
"""

from __future__ import annotations

import collections
from typing import Any

# The parts of an encoder beside its blocks, in the order of the numbers; the last may be absent.
_PARTS = {
    "embeddings/word": "_embedding_layer",
    "embeddings/position": "_position_embedding_layer",
    "embeddings/type": "_type_embedding_layer",
    "embeddings/layer_norm": "_embedding_norm_layer",
    "embeddings/projection": "_embedding_projection",
}
_PARTS_OF_BLOCK = {
    "attention/query": ("_attention_layer", "_query_dense"),
    "attention/key": ("_attention_layer", "_key_dense"),
    "attention/value": ("_attention_layer", "_value_dense"),
    "attention/output": ("_attention_layer", "_output_dense"),
    "attention/layer_norm": ("_attention_layer_norm",),
    "intermediate": ("_intermediate_dense",),
    "output": ("_output_dense",),
    "output/layer_norm": ("_output_layer_norm",),
}
_VARIABLES = ("embeddings", "kernel", "bias", "gamma", "beta")
_NEXT_SENTENCE_POOLER = "next_sentence.pooler_dense"
# What a functional model calls its layers that have weights, before their numbers.
_NUMBER = "layer_with_weights-"
# The attribute of a checkpoint's node that is a variable's value.
VALUE = "VARIABLE_VALUE"
# Under which names a layer in a SavedModel lists what the layers inside it hold.
_LISTS = ("variables", "trainable_variables", "keras_api")
# Where a dropout keeps the state of its random numbers.
_RANDOM_STATE = "_random_generator"

_Children = list[dict[str, int]]


def find_encoder_variables(graph: Any, source: str) -> dict[str, int]:
    """Finds the variables of the one BERT encoder in an object graph.

    Of a pretraining checkpoint whose next-sentence head has a pooler, that one is taken: it
    was trained, and the encoder's own was not. So do tf-models-official's tasks.

    Args:
      graph: the `TrackableObjectGraph` of a checkpoint or the `SavedObjectGraph` of a
        SavedModel.
      source: the file it is from, for the error.

    Returns:
      The node of each variable, by the names of `encoder_variables`; what is not there is
      left out. Further variables, of layers that a BERT has not and of adapters wherever
      they are, have the attributes that lead to them as names.

    Raises:
      ValueError: the graph holds no BERT encoder, or several, or is damaged.
    """
    children = [{c.local_name: c.node_id for c in node.children} for node in graph.nodes]
    if any(not 0 <= node < len(children) for own in children for node in own.values()):
        raise ValueError(f"{source} is damaged: an object in it refers to one that is not there")
    encoders = [(node, parts) for node in range(len(children)) if (parts := _parts(children, node))]
    if len(encoders) != 1:
        raise ValueError(
            f"{source} must hold one BERT encoder of tf-models-official, a BertEncoderV2 or a "
            f"BertEncoder. Found: {len(encoders)}"
        )
    ((encoder, parts),) = encoders
    known = set(_variables(children, parts).values())
    if _NEXT_SENTENCE_POOLER in children[0]:
        parts["pooler"] = children[0][_NEXT_SENTENCE_POOLER]
    found = _variables(children, parts)
    known.update(found.values())
    for node, path in _reached(children, _starts(children, encoder)).items():
        if node not in known and _is_variable(graph.nodes[node]) and _RANDOM_STATE not in path:
            found[path] = node
    return found


def _variables(children: _Children, parts: dict[str, int]) -> dict[str, int]:
    """Returns the variables of an encoder's layers by the names of `encoder_variables`."""
    found = {}
    for name, node in parts.items():
        # An embedding table has the name of its layer, as in `encoder_variables`.
        for variable in set(_VARIABLES) & set(children[node]):
            key = name if variable == "embeddings" else f"{name}/{variable}"
            found[key] = children[node][variable]
    return found


def _starts(children: _Children, encoder: int) -> dict[int, str]:
    """Returns the nodes below which all variables are the encoder's, and their names."""
    if "_transformer_layers" in children[encoder]:
        return {encoder: "encoder/"}
    # A functional model may have been given attributes that are no layers of its own.
    numbered = _numbered(children[encoder], _NUMBER)
    return {node: f"{_NUMBER}{index}/" for index, node in enumerate(numbered)}


def _reached(children: _Children, starts: dict[int, str]) -> dict[int, str]:
    """Returns all nodes that others lead to, and the attributes that lead there."""
    paths = dict(starts)
    for left_out in (_LISTS, ()):
        todo = collections.deque(paths)
        while todo:
            node = todo.popleft()
            for name, child in children[node].items():
                if child not in paths and name not in left_out:
                    paths[child] = f"{paths[node]}{name}/"
                    todo.append(child)
    return {node: path.removesuffix("/") for node, path in paths.items()}


def _is_variable(node: Any) -> bool:
    if "variable" in node.DESCRIPTOR.fields_by_name:
        return node.HasField("variable")
    return any(attribute.name == VALUE for attribute in node.attributes)


def _parts(children: _Children, node: int) -> dict[str, int]:
    """Returns the nodes of an encoder's layers by name; none if the node is no encoder."""
    own = children[node]
    numbered = _numbered(own, _NUMBER)
    if "_transformer_layers" in own:
        blocks = _numbered(children[own["_transformer_layers"]], "")
    else:
        blocks = [layer for layer in numbered if "_attention_layer" in children[layer]]
    if not blocks:
        return {}
    parts = {}
    if blocks[0] in numbered:
        parts = dict(zip(_PARTS, numbered[: numbered.index(blocks[0])], strict=False))
        parts["pooler"] = numbered[-1]
    attributes = {**_PARTS, "pooler": "_pooler_layer"}
    parts |= {name: own[attribute] for name, attribute in attributes.items() if attribute in own}
    for index, block in enumerate(blocks):
        for name, path in _PARTS_OF_BLOCK.items():
            layer = block
            for attribute in path:
                layer = children[layer].get(attribute) if layer is not None else None
            if layer is not None:
                parts[f"layer_{index}/{name}"] = layer
    return parts


def _numbered(own: dict[str, int], prefix: str) -> list[int]:
    """Returns the children called prefix0, prefix1, ... in order."""
    nodes = []
    while f"{prefix}{len(nodes)}" in own:
        nodes.append(own[f"{prefix}{len(nodes)}"])
    return nodes
