"""Which tf-models-official encoders can hold adapters, and where in them.

Two tables say what the other modules need: the block of each of an encoder's layers, and
the ends of a block's residual sub-layers. An end is the last layer that a sub-layer
applies before its residual addition, the paper's place for an adapter: a dropout, or a
projection where the block has no dropout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tf_keras
from official.nlp.modeling import layers, networks
from official.nlp.modeling.layers import mobile_bert_layers

# What stands in the blocks as a LayerNorm. MobileBERT's NoNorm keeps its scale and shift.
NORMS = (tf_keras.layers.LayerNormalization, mobile_bert_layers.NoNorm)


@dataclasses.dataclass(frozen=True)
class End:
    """The end of one residual sub-layer.

    Args:
      name: the sub-layer's name among the block's variables.
      place: which of `AdapterConfig.places` it is.
      layer: the layer that an adapter is to follow.
      width: features of that layer's output.
      attribute: the block's attribute that holds a dropout; None where `layer` is a
        projection, which has variables.
    """

    name: str
    place: str
    layer: tf_keras.layers.Layer
    width: int
    attribute: str | None = None


def _dropout_ends(block: tf_keras.layers.Layer) -> list[End]:
    width = block._output_dense.kernel.shape[-1]
    return [
        End(place, place, getattr(block, attribute), width, attribute)
        for place, attribute in (
            ("attention", "_attention_dropout"),
            ("feed_forward", "_output_dropout"),
        )
    ]


def _projection_ends(block: layers.MobileBertTransformer) -> list[End]:
    """A MobileBERT block's: attention, then each of the stacked feed-forward networks."""
    found = [("attention", "attention", block.block_layers["attention"][0]._output_dense)]
    for index, (_, projection, _) in enumerate(block.block_layers["ffn"]):
        found.append((f"feed_forward_{index}", "feed_forward", projection))
    return [End(*end, end[-1].kernel.shape[-1]) for end in found]


def _listed(encoder: tf_keras.layers.Layer) -> list[tf_keras.layers.Layer]:
    return list(encoder.transformer_layers)


def _one_for_all(encoder: networks.AlbertEncoder) -> list[tf_keras.layers.Layer]:
    return [encoder.get_layer("transformer")] * encoder.get_config()["num_layers"]


_BLOCKS_OF: dict[type, Callable[[tf_keras.layers.Layer], list[tf_keras.layers.Layer]]] = {
    networks.BertEncoderV2: _listed,
    networks.BertEncoder: _listed,
    networks.AlbertEncoder: _one_for_all,
    networks.MobileBERTEncoder: _listed,
    networks.FunnelTransformerEncoder: _listed,
    networks.FNet: _listed,
}
_ENDS_OF: dict[type, Callable[[tf_keras.layers.Layer], list[End]]] = {
    layers.TransformerEncoderBlock: _dropout_ends,
    layers.TransformerScaffold: _dropout_ends,
    layers.MobileBertTransformer: _projection_ends,
}
HOSTS = tuple(_BLOCKS_OF)


def blocks_of(encoder: tf_keras.layers.Layer) -> list[tf_keras.layers.Layer]:
    """Returns the block of each of an encoder's layers, the lowest first.

    A block that several layers share, as in ALBERT, is there once for each of them.

    Args:
      encoder: an encoder of one of the classes `HOSTS`, adapted or not.

    Raises:
      ValueError: it is of another class, or has blocks in which adapters have no place.
    """
    host = next((cls for cls in type(encoder).__mro__ if cls in _BLOCKS_OF), None)
    if host is None:
        raise not_a_host(encoder)
    blocks = _BLOCKS_OF[host](encoder)
    others = {type(block).__name__ for block in blocks if type(block) not in _ENDS_OF}
    if others:
        raise ValueError(
            f"`encoder` must be made of these blocks: {_names(_ENDS_OF)}. "
            f"Received: {host.__name__} of {', '.join(sorted(others))}"
        )
    return blocks


def not_a_host(encoder: object) -> ValueError:
    """Makes the error that lists the encoders which can be adapted."""
    return ValueError(
        f"`encoder` must be one of these tf-models-official encoders: {_names(HOSTS)}. "
        f"Received: {type(encoder).__name__}"
    )


def shares_blocks(blocks: list[tf_keras.layers.Layer]) -> bool:
    """Says whether several of an encoder's layers are one block."""
    return len(set(map(id, blocks))) < len(blocks)


def ends_of(block: tf_keras.layers.Layer) -> list[End]:
    """Returns the ends of a built block's sub-layers, in the order of its computation."""
    return _ENDS_OF[type(block)](block)


def pooler_of(encoder: tf_keras.layers.Layer) -> tf_keras.layers.Layer | None:
    """Returns the layer behind `pooled_output`; None for a MobileBERT that has none."""
    if isinstance(encoder, networks.AlbertEncoder):
        return encoder.get_layer("pooler_transform")
    return encoder.pooler_layer


def _names(classes: object) -> str:
    return ", ".join(cls.__name__ for cls in classes)
