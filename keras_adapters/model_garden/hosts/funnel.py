"""Funnel Transformer: BERT's blocks over sequences that are pooled on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tf_keras

from keras_adapters.host import one_or_all
from keras_adapters.model_garden.hosts.bert import BertHost


class FunnelHost(BertHost):
    """`FunnelTransformerEncoder` of BERT's blocks; its residuals are the pooled sequences."""

    family = "funnel"
    keeps_positions = False

    def architecture(self, encoder: tf_keras.layers.Layer) -> dict[str, Any]:
        """Returns what is told of a BERT, how sequences are pooled, and where dense inputs go."""
        strides = [float(stride) for stride in encoder._pool_strides]
        pools = any(stride != 1 for stride in strides)
        return {
            **super().architecture(encoder),
            "pool_stride": one_or_all(strides),
            "pool_type": encoder._pool_type if pools else None,
            "unpool_length": encoder._unpool_length if pools else 0,
            "append_dense_inputs": bool(encoder._append_dense_inputs),
        }

    def to_plain(self, encoder: tf_keras.layers.Layer, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config, with an argument that the encoder's own leaves out."""
        plain = super().to_plain(encoder, config)
        return {**plain, "append_dense_inputs": encoder._append_dense_inputs}
