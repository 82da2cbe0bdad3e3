"""Finds a BERT encoder's variables in the object graph of a TensorFlow 2 checkpoint or SavedModel.

Both store which Python object held which, under which attribute; so variables are found by
the attributes of tf-models-official's classes. `BertEncoderV2` is a layer whose parts are
attributes. `BertEncoder` is a functional model whose parts are also numbered, as
`layer_with_weights-0` and so on; before 2021 it had no attributes beside the numbers.
"""

from __future__ import annotations

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
      left out.

    Raises:
      ValueError: the graph holds no BERT encoder, or several.
    """
    children = [{c.local_name: c.node_id for c in node.children} for node in graph.nodes]
    encoders = [parts for node in range(len(children)) if (parts := _parts(children, node))]
    if len(encoders) != 1:
        raise ValueError(
            f"{source} must hold one BERT encoder of tf-models-official, a BertEncoderV2 or a "
            f"BertEncoder. Found: {len(encoders)}"
        )
    (parts,) = encoders
    if _NEXT_SENTENCE_POOLER in children[0]:
        parts["pooler"] = children[0][_NEXT_SENTENCE_POOLER]
    found = {}
    for name, node in parts.items():
        # An embedding table has the name of its layer, as in `encoder_variables`.
        for variable in set(_VARIABLES) & set(children[node]):
            key = name if variable == "embeddings" else f"{name}/{variable}"
            found[key] = children[node][variable]
    return found


def _parts(children: _Children, node: int) -> dict[str, int]:
    """Returns the nodes of an encoder's layers by name; none if the node is no encoder."""
    own = children[node]
    numbered = _numbered(own, "layer_with_weights-")
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
