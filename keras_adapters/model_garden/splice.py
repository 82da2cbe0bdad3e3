"""Puts adapters into the blocks of a tf-models-official encoder.

`TransformerEncoderBlock.call` applies `_attention_dropout` and `_output_dropout` once
each, right before that sub-layer's residual addition: where the paper puts its adapters.
Each is replaced by "that dropout, then an adapter", so the block's own code, variables
and checkpoints stay as they are.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras
from official.nlp.modeling import layers, networks

from keras_adapters.config import AdapterConfig
from keras_adapters.model_garden.layers import BottleneckAdapter

_DROPOUT_OF_PLACE = {"attention": "_attention_dropout", "feed_forward": "_output_dropout"}


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


class _Adapted:
    """What an encoder gains with adapters: a config that tells of them."""

    adapter_config: AdapterConfig

    def get_config(self) -> dict[str, Any]:
        """Returns the encoder's own config and, as JSON, the adapters'."""
        return {**super().get_config(), "adapter_config": self.adapter_config.to_json()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> _Adapted:
        """Makes the encoder, then adds the adapters."""
        config = dict(config)
        adapter_config = AdapterConfig.from_json(config.pop("adapter_config"))
        return add_adapters(_HOST_OF[cls](**config), adapter_config)


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class AdaptedBertEncoderV2(_Adapted, networks.BertEncoderV2):
    """A `BertEncoderV2` with adapters; made by `add_adapters`."""


@tf_keras.utils.register_keras_serializable(package="keras_adapters")
class AdaptedBertEncoder(_Adapted, networks.BertEncoder):
    """A functional `BertEncoder` with adapters; made by `add_adapters`."""


_ADAPTED = {
    networks.BertEncoderV2: AdaptedBertEncoderV2,
    networks.BertEncoder: AdaptedBertEncoder,
}
_HOST_OF = {adapted: host for host, adapted in _ADAPTED.items()}


def add_adapters(encoder: tf_keras.layers.Layer, config: AdapterConfig) -> tf_keras.layers.Layer:
    """Adds adapters to an encoder, in place.

    The encoder may already hold restored weights and may already be part of a model; its
    own variables keep their values, objects and checkpoint keys. Its class becomes a
    subclass whose config tells of the adapters, so saving and reloading keeps them.
    Compile a model that contains the encoder only afterwards.

    Args:
      encoder: an `official.nlp.modeling.networks` `BertEncoderV2` or `BertEncoder`.
      config: which adapters, and where.

    Returns:
      The same encoder.

    Raises:
      ValueError: the encoder's class is not one that can be adapted, it has adapters
        already, or `config.layers` names a block that it does not have.

    Reference:
      Houlsby et al. 2019, section 2.1 and figure 2.
    """
    if type(encoder) in _HOST_OF:
        raise ValueError(
            f"`encoder` has adapters already: {encoder.adapter_config}. Add adapters to an "
            "encoder once; load a second adapter with `adapter_file.load_adapter`."
        )
    if type(encoder) not in _ADAPTED:
        known = ", ".join(host.__name__ for host in _ADAPTED)
        raise ValueError(
            f"`encoder` must be one of these tf-models-official encoders: {known}. "
            f"Received: {type(encoder).__name__}"
        )
    blocks = encoder.transformer_layers
    beyond = [index for index in config.layers or () if index >= len(blocks)]
    if beyond:
        raise ValueError(
            f"`layers` must be below the encoder's {len(blocks)} blocks. Received: {beyond}"
        )
    if not encoder.built:
        encoder(encoder.inputs)
    width = encoder.get_config()["hidden_size"]
    chosen = range(len(blocks)) if config.layers is None else config.layers
    for index in chosen:
        for place in config.places:
            _add_adapter(blocks[index], place, width, config)
    # Keras tracks what is set on a layer; its class is not for it to see.
    object.__setattr__(encoder, "__class__", _ADAPTED[type(encoder)])
    encoder.adapter_config = config
    return encoder


def _add_adapter(
    block: layers.TransformerEncoderBlock, place: str, width: int, config: AdapterConfig
) -> None:
    adapter = BottleneckAdapter(
        config.size,
        activation=config.activation,
        init_stddev=config.init_stddev,
        dropout=config.dropout,
        dtype=block.dtype_policy,
        name=f"{place}_adapter",
    )
    with tf.name_scope(f"{block.name}/{adapter.name}"):
        adapter.build(tf.TensorShape([None, None, width]))
    attribute = _DROPOUT_OF_PLACE[place]
    wrapped = DropoutThenAdapter(
        getattr(block, attribute), adapter, dtype=block.dtype_policy, name=f"{place}_end"
    )
    setattr(block, attribute, wrapped)
