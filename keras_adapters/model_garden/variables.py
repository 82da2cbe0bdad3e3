"""One name for each variable of an encoder, whatever model or scope it was built in."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf
import tf_keras
from official.nlp.modeling import layers, networks

from keras_adapters.model_garden.hosts.host import blocks_of, ends_of, pooler_of

# A part of an encoder: the prefix of its variables' names, and the layer that holds them.
Part = tuple[str, tf_keras.layers.Layer]
_EMBEDDINGS = ("embeddings/word", "embeddings/position", "embeddings/type")


def encoder_variables(
    encoder: tf_keras.layers.Layer, *, adapters: bool = True
) -> dict[str, tf.Variable]:
    """Names the variables of an encoder, adapted or not.

    Args:
      encoder: a built encoder of one of the classes `hosts.HOSTS`.
      adapters: whether to list the adapters' variables beside the encoder's own.

    Returns:
      Variables by name, such as `embeddings/word`, `layer_0/attention/query/kernel`,
      `layer_0/attention/adapter/down/kernel`, `layer_0/output/layer_norm/gamma`,
      `pooler/bias`. float32; kernels are [in, out], those of query, key and value
      [hidden, heads, head size] and that of the attention output [heads, head size, hidden].
      A block that several layers share is named after the lowest of them.

    Raises:
      ValueError: the encoder is of another class.
    """
    named: dict[str, tf.Variable] = {}
    for prefix, layer in _parts(encoder, adapters):
        for variable in own_variables(layer):
            leaf = variable.name.split("/")[-1].removesuffix(":0")
            named[prefix if leaf == "embeddings" else f"{prefix}/{leaf}"] = variable
    return named


def own_variables(layer: tf_keras.layers.Layer) -> list[tf.Variable]:
    """Returns the variables that a layer holds itself, not in a layer inside it."""
    inner = {
        id(variable)
        for child in layer.submodules
        if isinstance(child, tf_keras.layers.Layer)
        for variable in child.weights
    }
    return [variable for variable in layer.weights if id(variable) not in inner]


def _parts(encoder: tf_keras.layers.Layer, adapters: bool) -> Iterator[Part]:
    yield from _embedding_parts(encoder)
    named: set[int] = set()
    for index, block in enumerate(blocks_of(encoder)):
        if id(block) in named:
            continue
        named.add(id(block))
        mobile = isinstance(block, layers.MobileBertTransformer)
        for part, layer in (_mobile_bert_parts if mobile else _block_parts)(block):
            yield f"layer_{index}/{part}", layer
        for end in ends_of(block) if adapters else ():
            adapter = getattr(end.layer, "adapter", None)
            if adapter is not None:
                yield f"layer_{index}/{end.name}/adapter/down", adapter.down
                yield f"layer_{index}/{end.name}/adapter/up", adapter.up
    pooler = pooler_of(encoder)
    if pooler is not None:
        yield "pooler", pooler


def _embedding_parts(encoder: tf_keras.layers.Layer) -> Iterator[Part]:
    if isinstance(encoder, networks.MobileBERTEncoder):
        inside = encoder.embedding_layer
        tables = (inside.word_embedding, inside.pos_embedding, inside.type_embedding)
        norm, projection = inside.layer_norm, inside.word_embedding_proj
    elif isinstance(encoder, networks.AlbertEncoder):
        inside = {layer.name: layer for layer in encoder.layers}
        tables = tuple(
            inside[name] for name in ("word_embeddings", "position_embedding", "type_embeddings")
        )
        norm, projection = inside["embeddings/layer_norm"], inside.get("embedding_projection")
    else:
        tables = (
            encoder._embedding_layer,
            encoder._position_embedding_layer,
            encoder._type_embedding_layer,
        )
        norm = encoder._embedding_norm_layer
        projection = getattr(encoder, "_embedding_projection", None)
    yield from zip(_EMBEDDINGS, tables, strict=True)
    if isinstance(tables[0], layers.FactorizedEmbedding):
        yield "embeddings/word/projection", tables[0]._embedding_projection
    yield "embeddings/layer_norm", norm
    if projection is not None:
        yield "embeddings/projection", projection


def _block_parts(block: tf_keras.layers.Layer) -> Iterator[Part]:
    yield from _attention_parts(block._attention_layer)
    yield "attention/layer_norm", block._attention_layer_norm
    yield "intermediate", block._intermediate_dense
    yield "output", block._output_dense
    yield "output/layer_norm", block._output_layer_norm


def _mobile_bert_parts(block: layers.MobileBertTransformer) -> Iterator[Part]:
    inside = block.block_layers
    for name in ("bottleneck_input", "kq_shared_bottleneck", "bottleneck_output"):
        if name in inside:
            yield name, inside[name][0]
            yield f"{name}/layer_norm", inside[name][-1]
    yield from _attention_parts(inside["attention"][0])
    yield "attention/layer_norm", inside["attention"][1]
    for index, (intermediate, output, norm) in enumerate(inside["ffn"]):
        yield f"feed_forward_{index}/intermediate", intermediate
        yield f"feed_forward_{index}/output", output
        yield f"feed_forward_{index}/layer_norm", norm


def _attention_parts(attention: tf_keras.layers.Layer) -> Iterator[Part]:
    """An attention's projections, or what an FNet has instead of them."""
    if isinstance(attention, tf_keras.layers.MultiHeadAttention):
        for name in ("query", "key", "value", "output"):
            yield f"attention/{name}", getattr(attention, f"_{name}_dense")
    else:
        yield "attention/mixing", attention
