"""Blocks that are computed again for their gradients instead of being kept in memory."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src.engine import base_layer_utils


def rematerialize(encoder: tf_keras.layers.Layer) -> None:
    """Makes each block of an encoder keep its inputs alone for the backward pass.

    Dropout must draw the same mask twice: see `train.fit.dropout`.

    Args:
      encoder: a `BertEncoderV2`, adapted or not; not yet part of a model.
    """
    for block in encoder.transformer_layers:
        block.call = _recomputed(block)


def _recomputed(block: tf_keras.layers.Layer) -> Any:
    call = block.call

    def recomputing(inputs: Any, output_range: int | None = None) -> tf.Tensor:
        context = base_layer_utils.call_context()
        arguments, build_graph = context.call_context_args, context.build_graph

        @tf.recompute_grad
        def compute(*tensors: tf.Tensor) -> tf.Tensor:
            # The second time Keras is not in the midst of a call, and the layers inside would
            # take `training` for false.
            with context.enter(block, tensors, build_graph, arguments):
                return call(list(tensors), output_range=output_range)

        return compute(*inputs)

    return recomputing
