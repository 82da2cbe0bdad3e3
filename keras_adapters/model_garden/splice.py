"""Puts adapters into the blocks of a tf-models-official encoder.

`TransformerEncoderBlock.call` applies `_attention_dropout` and `_output_dropout` once
each, right before that sub-layer's residual addition: where the paper puts its adapters.
Each is replaced by "that dropout, then an adapter", so the block's own code, variables
and checkpoints stay as they are. Where a block ends its sub-layers with a projection and
no dropout, as MobileBERT's does, the projection itself becomes one that an adapter follows.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.model_garden.hosts.host import (
    End,
    blocks_of,
    ends_of,
    not_a_host,
    shares_blocks,
)
from keras_adapters.model_garden.hosts.plain_config import from_plain, to_plain
from keras_adapters.model_garden.layers import BottleneckAdapter
from keras_adapters.model_garden.variables import encoder_variables


class DropoutThenAdapter(tf_keras.layers.Layer):
    """A block's dropout followed by an adapter; stands where the dropout stood.

    Args:
      dropout: the block's own dropout layer.
      adapter: a built `BottleneckAdapter`.

    Call arguments:
      inputs: `<float>[batch, seq, hidden]`, a sub-layer's output.
      training: whether to apply dropout.

    Returns:
      `<float>[batch, seq, hidden]`.
    """

    def __init__(
        self, dropout: tf_keras.layers.Layer, adapter: BottleneckAdapter, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dropout = dropout
        self.adapter = adapter

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns adapter(dropout(inputs))."""
        return self.adapter(self.dropout(inputs, training=training), training=training)


class ProjectionThenAdapter(tf_keras.layers.EinsumDense):
    """A block's projection followed by an adapter; what `add_adapters` makes of one.

    The adapter belongs to the block: to freeze the projection is not to freeze it.
    """

    adapter: BottleneckAdapter

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns adapter(projection(inputs)), `<float>[batch, seq, width]`."""
        return self.adapter(super().call(inputs))


class _Adapted:
    """What an encoder gains with adapters: a config that tells of them."""

    adapter_config: AdapterConfig

    def get_config(self) -> dict[str, Any]:
        """Returns the encoder's own config, made plain, and the adapters' as JSON."""
        return {**to_plain(super().get_config()), "adapter_config": self.adapter_config.to_json()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> _Adapted:
        """Makes the encoder, then adds the adapters."""
        config = from_plain(config)
        adapter_config = AdapterConfig.from_json(config.pop("adapter_config"))
        return add_adapters(_HOST_OF[cls](**config), adapter_config)


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class AdaptedBertEncoderV2(_Adapted, networks.BertEncoderV2):
    """A `BertEncoderV2` with adapters; made by `add_adapters`."""


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class AdaptedBertEncoder(_Adapted, networks.BertEncoder):
    """A functional `BertEncoder` with adapters; made by `add_adapters`."""


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class AdaptedAlbertEncoder(_Adapted, networks.AlbertEncoder):
    """An `AlbertEncoder` with adapters, shared as its block is; made by `add_adapters`."""

    def get_config(self) -> dict[str, Any]:
        """Returns the config, with the one argument that `AlbertEncoder`'s leaves out."""
        return {**super().get_config(), "dict_outputs": isinstance(self.output, dict)}


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class AdaptedMobileBERTEncoder(_Adapted, networks.MobileBERTEncoder):
    """A `MobileBERTEncoder` with adapters; made by `add_adapters`."""

    # For `.keras` files: Keras does not look into the lists in which this host's blocks
    # keep their layers, and would leave their variables out without a word.

    def save_own_variables(self, store: Any) -> None:
        """Saves all of the encoder's variables, by name."""
        for name, variable in encoder_variables(self).items():
            store[name] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved."""
        for name, variable in encoder_variables(self).items():
            variable.assign(store[name])


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class AdaptedFunnelTransformerEncoder(_Adapted, networks.FunnelTransformerEncoder):
    """A `FunnelTransformerEncoder` with adapters; made by `add_adapters`."""


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class AdaptedFNet(_Adapted, networks.FNet):
    """An `FNet` with adapters; made by `add_adapters`."""


_ADAPTED = {
    networks.BertEncoderV2: AdaptedBertEncoderV2,
    networks.BertEncoder: AdaptedBertEncoder,
    networks.AlbertEncoder: AdaptedAlbertEncoder,
    networks.MobileBERTEncoder: AdaptedMobileBERTEncoder,
    networks.FunnelTransformerEncoder: AdaptedFunnelTransformerEncoder,
    networks.FNet: AdaptedFNet,
}
_HOST_OF = {adapted: host for host, adapted in _ADAPTED.items()}


def add_adapters(encoder: tf_keras.layers.Layer, config: AdapterConfig) -> tf_keras.layers.Layer:
    """Adds adapters to an encoder, in place.

    The encoder may already hold restored weights and may already be part of a model; its
    own variables keep their values, objects and checkpoint keys. Its class becomes a
    subclass whose config tells of the adapters, so saving and reloading keeps them.
    Compile a model that contains the encoder only afterwards.

    Args:
      encoder: one of the `official.nlp.modeling.networks` in `hosts.HOSTS`.
      config: which adapters, and where. An `AlbertEncoder`'s layers share their block, and
        so they share its adapters. A `MobileBERTEncoder` gets one after each of a block's
        stacked feed-forward networks, as wide as the block's bottleneck.

    Returns:
      The same encoder.

    Raises:
      ValueError: the encoder's class or its blocks' is not one that can be adapted, it has
        adapters already, `config.layers` names a block that it does not have, or chooses
        among layers that share one block.

    Reference:
      Houlsby et al. 2019, section 2.1 and figure 2.
    """
    if type(encoder) in _HOST_OF:
        raise ValueError(
            f"`encoder` has adapters already: {encoder.adapter_config}. Add adapters to an "
            "encoder once; load a second adapter with `adapter_file.load_adapter`."
        )
    if type(encoder) not in _ADAPTED:
        raise not_a_host(encoder)
    blocks = blocks_of(encoder)
    _check_layers(config, blocks, type(encoder).__name__)
    if not encoder.built:
        encoder(encoder.inputs)
    chosen = {id(blocks[index]): blocks[index] for index in config.layers or range(len(blocks))}
    for block in chosen.values():
        for end in ends_of(block):
            if end.place in config.places:
                _add_adapter(block, end, config)
    # Keras tracks what is set on a layer; its class is not for it to see.
    object.__setattr__(encoder, "__class__", _ADAPTED[type(encoder)])
    encoder.adapter_config = config
    return encoder


def _check_layers(config: AdapterConfig, blocks: list[tf_keras.layers.Layer], host: str) -> None:
    chosen = set(range(len(blocks)) if config.layers is None else config.layers)
    beyond = sorted(chosen - set(range(len(blocks))))
    if beyond:
        raise ValueError(
            f"`layers` must be below the encoder's {len(blocks)} blocks. Received: {beyond}"
        )
    if shares_blocks(blocks) and len(chosen) < len(blocks):
        raise ValueError(
            f"`layers` must be None for {host}: its {len(blocks)} layers share one block, and "
            f"so its adapters. Received: layers={config.layers}"
        )


def _add_adapter(block: tf_keras.layers.Layer, end: End, config: AdapterConfig) -> None:
    adapter = BottleneckAdapter(
        config.size,
        activation=config.activation,
        init_stddev=config.init_stddev,
        dropout=config.dropout,
        dtype=block.dtype_policy,
        name=f"{end.name}_adapter",
    )
    with tf.name_scope(f"{block.name}/{adapter.name}"):
        adapter.build(tf.TensorShape([None, None, end.width]))
    if end.attribute:
        wrapped = DropoutThenAdapter(
            end.layer, adapter, dtype=block.dtype_policy, name=f"{end.name}_end"
        )
        setattr(block, end.attribute, wrapped)
        return
    setattr(block, adapter.name, adapter)
    # Set past Keras, so that it is the block that tracks the adapter, once.
    object.__setattr__(end.layer, "adapter", adapter)
    object.__setattr__(end.layer, "__class__", ProjectionThenAdapter)
