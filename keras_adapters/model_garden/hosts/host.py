"""What all that is special about one class of encoder is told by: `Host`, `Site`, `Tap`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.nlp.modeling import layers

from keras_adapters.model_garden.hosts.activations import activation_name
from keras_adapters.model_garden.hosts.plain_config import from_plain, to_plain

# A part of an encoder: the prefix of its variables' names, and the layer that holds them.
Part = tuple[str, tf_keras.layers.Layer]
# Entries of a layer's config that change nothing of what it computes from its variables.
_NEUTRAL = re.compile(
    "^(name|trainable|dtype|batch_input_shape)$|initializer|regularizer|constraint"
)


@dataclasses.dataclass(frozen=True)
class Tap:
    """A tensor inside a block, told by a layer that takes it or gives it.

    Args:
      layer: that layer.
      side: `"input"`, the layer's first argument, or `"output"`.
    """

    layer: tf_keras.layers.Layer
    side: str


@dataclasses.dataclass(frozen=True)
class Site:
    """One residual sub-layer of a built block, and the places in it where layers can go.

    In a block that normalises after its sub-layers, `norm(input + end's output)` is the
    sub-layer's output, and `norm` gives it. In one that normalises before them (`norm_first`)
    `input` is what the sub-layer itself takes, normalised, and nothing follows the addition.

    Args:
      name: the sub-layer's name among the block's variables.
      place: which of `AdapterConfig.places` it is.
      input: the sub-layer's input side.
      end: the last layer before the residual addition, where the paper puts its adapters:
        a dropout, or a projection where the block has no dropout.
      width: features of `end`'s output.
      attribute: the block's attribute that holds a dropout; None where `end` is a
        projection, which has variables.
      after: the place after the norm; None in a block that normalises before.
    """

    name: str
    place: str
    input: Tap
    end: tf_keras.layers.Layer
    width: int
    attribute: str | None = None
    after: Tap | None = None


def inserted_at(site: Site) -> tf_keras.layers.Layer | None:
    """Returns the layer that was put at a sub-layer, if one was."""
    ends = (site.end, None if site.after is None else site.after.layer)
    return next((layer for end in ends if (layer := getattr(end, "adapter", None))), None)


class Host:
    """All that is special about one class of encoder: a subclass is one family.

    What it says holds for encoders with and without inserted layers.

    Args:
      encoder_class: the class in `official.nlp.modeling.networks`.
    """

    # What the same base is called, whichever class holds it.
    family: str
    # What a block may be, and what counts as a LayerNorm.
    block_classes: tuple[type, ...] = ()
    norm_classes: tuple[type, ...] = (tf_keras.layers.LayerNormalization,)
    # Whether Keras finds the encoder's variables by itself when it writes a `.keras` file.
    keras_finds_variables = True
    # Whether `sequence_output` has a state for each token of the inputs.
    keeps_positions = True
    # Whether several texts can share a row: `packed_states` is there.
    packs = False

    def __init__(self, encoder_class: type) -> None:
        self.encoder_class = encoder_class

    def blocks(self, encoder: tf_keras.layers.Layer) -> list[tf_keras.layers.Layer]:
        """Returns the block of each layer, the lowest first; a shared one once for each."""
        return list(encoder.transformer_layers)

    def sites(self, block: tf_keras.layers.Layer) -> list[Site]:
        """Returns the residual sub-layers of a built block, in the order of its computation."""
        raise NotImplementedError

    def normalises_last(self, block: tf_keras.layers.Layer) -> bool:
        """Says whether a block, built or not, normalises after its residual additions."""
        return True

    def embedding_parts(self, encoder: tf_keras.layers.Layer) -> Iterator[Part]:
        """Yields what lies below the blocks, by names that stand for the whole encoder."""
        tables = (
            encoder._embedding_layer,
            encoder._position_embedding_layer,
            encoder._type_embedding_layer,
        )
        projection = getattr(encoder, "_embedding_projection", None)
        yield from embedding_parts(tables, encoder._embedding_norm_layer, projection)

    def block_parts(self, block: tf_keras.layers.Layer) -> Iterator[Part]:
        """Yields a block's layers that hold variables, by names inside the block."""
        raise NotImplementedError

    def pooler(self, encoder: tf_keras.layers.Layer) -> tf_keras.layers.Layer | None:
        """Returns the layer behind `pooled_output`; None where there is none."""
        return encoder.pooler_layer

    def architecture(self, encoder: tf_keras.layers.Layer) -> dict[str, Any]:
        """Returns what the encoder computes but for its variables, without what is inserted.

        Two encoders whose architectures are equal, and whose variables are equal by name,
        shape and value, give the same `sequence_output` and `pooled_output` at inference. Two
        of which only initial values, dropouts, precision, names or further outputs differ
        have equal architectures; so have both classes of BERT.

        Args:
          encoder: a built encoder, adapted or not.

        Returns:
          Values that JSON keeps, by keys such as `family`, `layers`, `heads`, `activation`.
          What is told of each block or norm is one value where all are alike, and a list where
          they differ.

        Raises:
          ValueError: the encoder is not built, or has an activation or word embeddings that
            cannot be described.
        """
        self.check_built(encoder)
        blocks = self.blocks(encoder)
        parts = [*self.embedding_parts(encoder)]
        parts += [part for block in blocks for part in self.block_parts(block)]
        norms = [layer for _, layer in parts if isinstance(layer, self.norm_classes)]
        pooler = self.pooler(encoder)
        return {
            "family": self.family,
            "layers": len(blocks),
            **embedding_architecture(parts[0][1]),
            **by_block(self.block_architecture(block) for block in blocks),
            # None for a norm that does not divide.
            "norm_epsilon": one_or_all([getattr(norm, "epsilon", None) for norm in norms]),
            "pooler_activation": None if pooler is None else activation_of(pooler),
        }

    def block_architecture(self, block: tf_keras.layers.Layer) -> dict[str, Any]:
        """Returns what `architecture` tells of one built block."""
        raise NotImplementedError

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

    def norms(self, encoder: tf_keras.layers.Layer) -> set[tf_keras.layers.Layer]:
        """Returns the encoder's own LayerNorms, the embeddings' too."""
        sites = (
            site for block in self.blocks(encoder) if block.built for site in self.sites(block)
        )
        inserted = [layer for site in sites if (layer := inserted_at(site)) is not None]
        others = {id(inner) for layer in inserted for inner in layer.submodules}
        norms = (layer for layer in encoder.submodules if isinstance(layer, self.norm_classes))
        return {layer for layer in norms if id(layer) not in others}

    def to_plain(self, encoder: tf_keras.layers.Layer, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns an encoder's config in values that each of Keras's formats keeps."""
        return to_plain(config)

    def from_plain(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the encoder's arguments, from what `to_plain` returned."""
        return from_plain(config)

    def check(self, encoder: tf_keras.layers.Layer) -> None:
        """Raises a ValueError if the encoder has blocks that this host knows nothing of."""
        blocks = self.blocks(encoder)
        others = {type(block).__name__ for block in blocks if type(block) not in self.block_classes}
        if others:
            raise ValueError(
                f"`encoder` must be made of these blocks: {names_of(self.block_classes)}. "
                f"Received: {self.encoder_class.__name__} of {', '.join(sorted(others))}"
            )

    def shares_blocks(self, encoder: tf_keras.layers.Layer) -> bool:
        """Says whether several of an encoder's layers are one block."""
        blocks = self.blocks(encoder)
        return len(set(map(id, blocks))) < len(blocks)

    def is_built(self, encoder: tf_keras.layers.Layer) -> bool:
        """Says whether the encoder has its variables."""
        return encoder.built and all(block.built for block in self.blocks(encoder))

    def check_built(self, encoder: tf_keras.layers.Layer) -> None:
        """Raises a ValueError unless the encoder has its variables."""
        if not self.is_built(encoder):
            raise ValueError(
                "`encoder` must be built, for it has no variables before: call "
                f"`encoder(encoder.inputs)` first. Received: {encoder.name!r}, which is not"
            )


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
    function = layer.activation
    if isinstance(function, tf_keras.layers.Layer):
        if function.weights:
            raise ValueError(
                f"the activation of {layer.name!r} must hold no variables. Received: "
                f"{function.name!r}, a {type(function).__name__}"
            )
        # Past `__call__`, which would cast to the layer's own precision.
        function = function.call
    try:
        return activation_name(lambda x: function(tf.constant(x)))
    except ValueError as error:
        raise ValueError(f"{layer.name!r}: {error}") from error


def by_block(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what is told of each block, key by key, as `one_or_all`."""
    told = list(told)
    keys = dict.fromkeys(key for block in told for key in block)
    return {key: one_or_all([block.get(key) for block in told]) for key in keys}


def one_or_all(values: list[Any]) -> Any:
    """Returns the one value if all are equal, and all of them if not."""
    return values[0] if values and all(value == values[0] for value in values) else values


def names_of(classes: object) -> str:
    """Returns the names of classes, for an error."""
    return ", ".join(cls.__name__ for cls in classes)
