"""What all that is special about one class of encoder is told by: `Host`, `Site`, `Tap`.

Nothing here knows any Keras: `model_garden.hosts` and `keras_hub.hosts` derive from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from keras_adapters.activations import activation_name
from keras_adapters.methods.bottleneck import AdapterConfig

# A part of an encoder: the prefix of its variables' names, and the layer that holds them.
Part = tuple[str, Any]


@dataclasses.dataclass(frozen=True)
class Tap:
    """A tensor inside a block, told by a layer that takes it or gives it.

    Args:
      layer: that layer.
      side: `"input"`, the layer's first argument, or `"output"`.
    """

    layer: Any
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
    end: Any
    width: int
    attribute: str | None = None
    after: Tap | None = None


def inserted_at(site: Site) -> Any | None:
    """Returns the layer that was put at a sub-layer, if one was."""
    ends = (site.end, None if site.after is None else site.after.layer)
    return next((layer for end in ends if (layer := getattr(end, "adapter", None))), None)


class Host:
    """All that is special about one class of encoder: a subclass is one family.

    What it says holds for encoders with and without inserted layers.

    Args:
      encoder_class: the encoder's own class.
    """

    # What the same base is called, whichever class holds it.
    family: str
    # What a block may be, and what counts as a LayerNorm.
    block_classes: tuple[type, ...] = ()
    norm_classes: tuple[type, ...] = ()

    def __init__(self, encoder_class: type) -> None:
        self.encoder_class = encoder_class

    def blocks(self, encoder: Any) -> list[Any]:
        """Returns the block of each layer, the lowest first; a shared one once for each."""
        return list(encoder.transformer_layers)

    def sites(self, block: Any) -> list[Site]:
        """Returns the residual sub-layers of a built block, in the order of its computation."""
        raise NotImplementedError

    def normalises_last(self, block: Any) -> bool:
        """Says whether a block, built or not, normalises after its residual additions."""
        return True

    def embedding_parts(self, encoder: Any) -> Iterator[Part]:
        """Yields what lies below the blocks, by names that stand for the whole encoder."""
        raise NotImplementedError

    def block_parts(self, block: Any) -> Iterator[Part]:
        """Yields a block's layers that hold variables, by names inside the block."""
        raise NotImplementedError

    def top_parts(self, encoder: Any) -> Iterator[Part]:
        """Yields what lies above the blocks: the pooler, if there is one."""
        pooler = self.pooler(encoder)
        if pooler is not None:
            yield "pooler", pooler

    def pooler(self, encoder: Any) -> Any | None:
        """Returns the layer behind `pooled_output`; None where there is none."""
        raise NotImplementedError

    def architecture(self, encoder: Any) -> dict[str, Any]:
        """Returns what the encoder computes but for its variables, without what is inserted.

        Two encoders whose architectures are equal, and whose variables are equal by name,
        shape and value, give the same `sequence_output` and `pooled_output` at inference. Two
        of which only initial values, dropouts, precision, names or further outputs differ
        have equal architectures; so have the classes of BERT, of either Keras.

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
        parts += self.top_parts(encoder)
        norms = [layer for _, layer in parts if isinstance(layer, self.norm_classes)]
        pooler = self.pooler(encoder)
        return {
            "family": self.family,
            "layers": len(blocks),
            **self.embedding_architecture(parts[0][1]),
            **by_block(self.block_architecture(block) for block in blocks),
            # None for a norm that does not divide.
            "norm_epsilon": one_or_all([getattr(norm, "epsilon", None) for norm in norms]),
            "pooler_activation": None if pooler is None else self.activation_of(pooler),
        }

    def embedding_architecture(self, table: Any) -> dict[str, Any]:
        """Returns what `architecture` tells of the layer of word embeddings."""
        raise NotImplementedError

    def block_architecture(self, block: Any) -> dict[str, Any]:
        """Returns what `architecture` tells of one built block."""
        raise NotImplementedError

    def activation_of(self, layer: Any) -> str:
        """Returns the name of a layer's activation, by what it computes in float32.

        Raises:
          ValueError: it is no function of one tensor, or holds variables.
        """
        raise NotImplementedError

    def norms(self, encoder: Any) -> set[Any]:
        """Returns the encoder's own LayerNorms, the embeddings' too."""
        sites = (
            site for block in self.blocks(encoder) if block.built for site in self.sites(block)
        )
        inserted = [layer for site in sites if (layer := inserted_at(site)) is not None]
        others = {id(inner) for layer in inserted for inner in inner_layers(layer)}
        inside = inner_layers(encoder)
        norms = (layer for layer in inside if isinstance(layer, self.norm_classes))
        return {layer for layer in norms if id(layer) not in others}

    def check(self, encoder: Any) -> None:
        """Raises a ValueError if the encoder has blocks that this host knows nothing of."""
        blocks = self.blocks(encoder)
        others = {type(block).__name__ for block in blocks if type(block) not in self.block_classes}
        if others:
            raise ValueError(
                f"`encoder` must be made of these blocks: {names_of(self.block_classes)}. "
                f"Received: {self.encoder_class.__name__} of {', '.join(sorted(others))}"
            )

    def check_insertion(self, encoder: Any, config: AdapterConfig) -> None:
        """Raises a ValueError if the blocks cannot hold layers of settings, but for the usual."""

    def computes_all_positions(self, encoder: Any) -> bool:
        """Says whether the last block computes every position of its inputs."""
        return True

    def shares_blocks(self, encoder: Any) -> bool:
        """Says whether several of an encoder's layers are one block."""
        blocks = self.blocks(encoder)
        return len(set(map(id, blocks))) < len(blocks)

    def is_built(self, encoder: Any) -> bool:
        """Says whether the encoder has its variables."""
        return encoder.built and all(block.built for block in self.blocks(encoder))

    def check_built(self, encoder: Any) -> None:
        """Raises a ValueError unless the encoder has its variables."""
        if not self.is_built(encoder):
            raise ValueError(
                "`encoder` must be built, for it has no variables before: call "
                f"`encoder(encoder.inputs)` first. Received: {encoder.name!r}, which is not"
            )


def inner_layers(layer: Any) -> list[Any]:
    """Returns all layers inside of a layer of either Keras, at any depth, without itself."""
    if hasattr(layer, "submodules"):  # Those of `tf_keras`; Keras itself may overlook some.
        return [inner for inner in layer.submodules if hasattr(inner, "count_params")]
    return layer._flatten_layers(include_self=False)


def tracked_layers(layer: Any) -> list[Any]:
    """Returns layers inside of a layer of either Keras that hold all its weights but its own.

    They are those right below it, which are found far sooner than all, unless something else
    stands between.
    """
    modules = getattr(layer, "_flatten_modules", layer._flatten_layers)
    below = list(modules(include_self=False, recursive=False))
    return below if all(hasattr(each, "count_params") for each in below) else inner_layers(layer)


def activation_function(layer: Any) -> Callable[[Any], Any] | None:
    """Returns what a layer's activation computes, in the precision of its argument; None if none.

    Raises:
      ValueError: it is a layer that holds variables.
    """
    function = layer.activation
    if not hasattr(function, "weights"):
        return function
    if function.weights:
        raise ValueError(
            f"the activation of {layer.name!r} must hold no variables. Received: "
            f"{function.name!r}, a {type(function).__name__}"
        )
    # Past `__call__`, which would cast to the layer's own precision.
    return function.call


def described_activation(layer: Any, function: Callable[[Any], Any]) -> str:
    """Returns the name of a layer's activation, by what a function of arrays computes.

    Raises:
      ValueError: it is no function of one tensor.
    """
    try:
        return activation_name(function)
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
    """Returns the names of classes, for an error; one that several have stands there once."""
    return ", ".join(dict.fromkeys(cls.__name__ for cls in classes))
