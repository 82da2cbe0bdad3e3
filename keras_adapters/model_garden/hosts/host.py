"""What hosts of tf-models-official's encoders share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.nlp.modeling import layers

from keras_adapters import host
from keras_adapters.host import Part, activation_function, described_activation
from keras_adapters.model_garden.hosts.plain_config import from_plain, to_plain

# Entries of a layer's config that change nothing of what it computes from its variables.
_NEUTRAL = re.compile(
    "^(name|trainable|dtype|batch_input_shape)$|initializer|regularizer|constraint"
)


class Host(host.Host):
    """All that is special about one class of encoder in `official.nlp.modeling.networks`."""

    norm_classes = (tf_keras.layers.LayerNormalization,)
    # Whether Keras finds the encoder's variables by itself when it writes a `.keras` file.
    keras_finds_variables = True
    # Whether `sequence_output` has a state for each token of the inputs.
    keeps_positions = True
    # Whether several texts can share a row: `packed_states` is there.
    packs = False

    def embedding_parts(self, encoder: tf_keras.layers.Layer) -> Iterator[Part]:
        """Yields what lies below the blocks, by names that stand for the whole encoder."""
        tables = (
            encoder._embedding_layer,
            encoder._position_embedding_layer,
            encoder._type_embedding_layer,
        )
        projection = getattr(encoder, "_embedding_projection", None)
        yield from embedding_parts(tables, encoder._embedding_norm_layer, projection)

    def pooler(self, encoder: tf_keras.layers.Layer) -> tf_keras.layers.Layer | None:
        """Returns the layer behind `pooled_output`; None where there is none."""
        return encoder.pooler_layer

    def computes_all_positions(self, encoder: tf_keras.layers.Layer) -> bool:
        """Says whether the last block computes every position of its inputs."""
        return not encoder.get_config().get("output_range")

    def embedding_architecture(self, table: tf_keras.layers.Layer) -> dict[str, Any]:
        """Returns what `architecture` tells of the layer of word embeddings."""
        return embedding_architecture(table)

    def activation_of(self, layer: tf_keras.layers.Layer) -> str:
        """Returns the name of a layer's activation, see `host.Host`."""
        return activation_of(layer)

    def packed_states(
        self,
        encoder: tf_keras.layers.Layer,
        inputs: Mapping[str, tf.Tensor],
        output_range: int | None = None,
    ) -> tf.Tensor:
        """Returns the last block's output for rows that hold several texts each.

        The encoder's own layers compute it; what stands at a text's positions is what the encoder
        gives for that text alone. Call it inside of a Keras layer's `call`.

        Args:
          encoder: a built encoder, adapted or not.
          inputs: `input_word_ids`, `input_type_ids`, `text_numbers` (a position attends to those
            of its own number) and `position_ids`, each `<int32>[rows, length]`.
          output_range: how many positions of each row the last block computes; `None` is all.

        Returns:
          `<float32>[rows, output_range or length, hidden]`.
        """
        raise NotImplementedError

    def to_plain(self, encoder: tf_keras.layers.Layer, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns an encoder's config in values that each of Keras's formats keeps."""
        return to_plain(config)

    def from_plain(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the encoder's arguments, from what `to_plain` returned."""
        return from_plain(config)


def embedding_parts(
    tables: tuple[tf_keras.layers.Layer, ...],
    norm: tf_keras.layers.Layer,
    projection: tf_keras.layers.Layer | None,
) -> Iterator[Part]:
    """Yields the parts of the embeddings of words, positions and types, in this order."""
    for name, table in zip(("word", "position", "type"), tables, strict=True):
        yield f"embeddings/{name}", table
    if isinstance(tables[0], layers.FactorizedEmbedding):
        yield "embeddings/word/projection", tables[0]._embedding_projection
    yield "embeddings/layer_norm", norm
    if projection is not None:
        yield "embeddings/projection", projection


def attention_parts(attention: tf_keras.layers.Layer) -> Iterator[Part]:
    """Yields an attention's projections, or what an FNet has instead of them."""
    if isinstance(attention, tf_keras.layers.MultiHeadAttention):
        for name in ("query", "key", "value", "output"):
            yield f"attention/{name}", getattr(attention, f"_{name}_dense")
    else:
        yield "attention/mixing", attention


def embedding_architecture(table: tf_keras.layers.Layer) -> dict[str, Any]:
    """Returns what `Host.architecture` tells of the layer of word embeddings.

    Raises:
      ValueError: the layer is of a class of its own, with a config that JSON does not keep.
    """
    if type(table) in (layers.OnDeviceEmbedding, layers.FactorizedEmbedding):
        return {"embedding_scale": float(table._scale_factor or 1)}
    if type(table) is tf_keras.layers.Embedding and not table.mask_zero:
        return {"embedding_scale": 1.0}
    try:
        config = to_plain(table.get_config())
        told = {key: config[key] for key in sorted(config) if not _NEUTRAL.search(key)}
        name = tf_keras.utils.get_registered_name(type(table))
        return {"embedding": {"class": name, **json.loads(json.dumps(told))}}
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"`embedding_layer` must have a config that JSON keeps. Received: {table.name!r}, a "
            f"{type(table).__name__}: {error}"
        ) from error


def activation_of(layer: tf_keras.layers.Layer) -> str:
    """Returns the name of a layer's activation, by what it computes in float32.

    Raises:
      ValueError: it is no function of one tensor, or holds variables.
    """
    function = activation_function(layer)
    return described_activation(layer, lambda x: function(tf.constant(x)))
