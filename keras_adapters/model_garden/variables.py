"""One name for each variable of an encoder, whatever model or scope it was built in."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from keras_adapters.model_garden.splice import DropoutThenAdapter


def encoder_variables(
    encoder: tf_keras.layers.Layer, *, adapters: bool = True
) -> dict[str, tf.Variable]:
    """Names the variables of a `BertEncoderV2` or `BertEncoder`, adapted or not.

    Args:
      encoder: a built encoder.
      adapters: whether to list the adapters' variables beside the encoder's own.

    Returns:
      Variables by name, such as `embeddings/word`, `layer_0/attention/query/kernel`,
      `layer_0/attention/adapter/down/kernel`, `layer_0/output/layer_norm/gamma`,
      `pooler/bias`. float32; kernels are [in, out], those of query, key and value
      [hidden, heads, head size] and that of the attention output [heads, head size, hidden].
    """
    named = {
        "embeddings/word": encoder._embedding_layer.embeddings,
        "embeddings/position": encoder._position_embedding_layer._position_embeddings,
        "embeddings/type": encoder._type_embedding_layer.embeddings,
    }

    def add(prefix: str, layer: tf_keras.layers.Layer, *attributes: str) -> None:
        for attribute in attributes:
            named[f"{prefix}/{attribute}"] = getattr(layer, attribute)

    add("embeddings/layer_norm", encoder._embedding_norm_layer, "gamma", "beta")
    if getattr(encoder, "_embedding_projection", None) is not None:
        add("embeddings/projection", encoder._embedding_projection, "kernel", "bias")
    for index, block in enumerate(encoder.transformer_layers):
        layer, attention = f"layer_{index}", block._attention_layer
        add(f"{layer}/attention/query", attention._query_dense, "kernel", "bias")
        add(f"{layer}/attention/key", attention._key_dense, "kernel", "bias")
        add(f"{layer}/attention/value", attention._value_dense, "kernel", "bias")
        add(f"{layer}/attention/output", attention._output_dense, "kernel", "bias")
        add(f"{layer}/attention/layer_norm", block._attention_layer_norm, "gamma", "beta")
        add(f"{layer}/intermediate", block._intermediate_dense, "kernel", "bias")
        add(f"{layer}/output", block._output_dense, "kernel", "bias")
        add(f"{layer}/output/layer_norm", block._output_layer_norm, "gamma", "beta")
        ends = {"attention": block._attention_dropout, "feed_forward": block._output_dropout}
        for place, end in ends.items():
            if adapters and isinstance(end, DropoutThenAdapter):
                add(f"{layer}/{place}/adapter/down", end.adapter.down, "kernel", "bias")
                add(f"{layer}/{place}/adapter/up", end.adapter.up, "kernel", "bias")
    add("pooler", encoder.pooler_layer, "kernel", "bias")
    return named
