"""A block's training step in few operations: matrix products, and islands between them.

The blocks of BERT compute what they always did, to rounding, with their own variables, dropout
masks and inserted layers. Nothing changes outside of training, and so in what is exported.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras
from official.nlp.modeling import layers
from tf_keras.src.engine import base_layer_utils
from tf_keras.src.mixed_precision import autocast_variable

from keras_adapters.activations import KNOWN, activation_name
from keras_adapters.model_garden.layers import BottleneckAdapter
from keras_adapters.model_garden.wrapping import DropoutThenAdapter, TellsInput
from train.fit import islands
from train.fit.dropout import key_of

# What the blocks of BERT leave as it is, and a fused block does not compute.
_USUAL = {
    "_use_rms_norm": False,
    "_use_bias": True,
    "_use_query_residual": True,
    "_diff_q_kv_att_layer_norm": False,
    "_return_attention_scores": False,
    "_num_kv_heads": None,
    "_src_block_size": None,
    "_linformer_dim": None,
    "_activity_regularizer": None,
    "_output_last_dim": None,
    "_attention_axes": None,
    "_value_dim": None,
}

# Activations of a name that all know, by it: that of BERT without a division.
_BY_NAME = {"gelu": islands.gelu}


def fuse(encoder: tf_keras.layers.Layer) -> None:
    """Makes the blocks of an encoder compute their training step in few operations, in place.

    Blocks of another kind than BERT's stay as they are; so does all where dropout draws with
    Keras's own generator, as before `DropoutSeeds`. Under a precision of 16 bits a block below
    the last returns it, to which the next one would cast.

    Call it on an adapted or plain encoder, before `rematerialize`.

    Args:
      encoder: an encoder whose blocks are built.
    """
    blocks = getattr(encoder, "transformer_layers", ())
    for index, block in enumerate(blocks):
        if type(block) is layers.TransformerEncoderBlock and _is_usual(block):
            block.call = _FusedCall(block, last=index == len(blocks) - 1)


def _is_usual(block: tf_keras.layers.Layer) -> bool:
    return all(getattr(block, name, usual) == usual for name, usual in _USUAL.items())


class _FusedCall:
    """The `call` of a block; outside of training it is the block's own.

    Args:
      block: a built block.
      last: whether no other block follows.
    """

    def __init__(self, block: tf_keras.layers.Layer, last: bool) -> None:
        self._block = block
        self._plain = block.call
        self._last = last
        self._activation = _pure_activation(block._intermediate_activation_layer.activation)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, inputs: Any, output_range: int | None = None) -> Any:
        """Returns what the block's own `call` does."""
        training = base_layer_utils.call_context().training is True
        if not training or not isinstance(inputs, list | tuple) or len(inputs) != 2:
            return self._plain(inputs, output_range=output_range)
        if not all(map(_draws_by_key, self._dropouts())):
            return self._plain(inputs, output_range=output_range)
        # Variables are cast where it is said.
        with autocast_variable.enable_auto_cast_variables(None):
            return self._compute(*inputs, output_range or self._block._output_range)

    def _dropouts(self) -> list[tf_keras.layers.Dropout]:
        block = self._block
        ends = (block._attention_dropout, block._output_dropout)
        return [block._attention_layer._dropout_layer, *(getattr(e, "dropout", e) for e in ends)]

    def _compute(self, inputs: tf.Tensor, mask: tf.Tensor, rows: int | None) -> tf.Tensor:
        block = self._block
        source = inputs[:, :rows]
        if block._norm_first:
            inputs = tf.cast(block._attention_layer_norm(inputs), inputs.dtype)
        # The one tensor, where that is all of it: its projections are then one product.
        target = inputs[:, :rows] if rows else inputs
        _tell(block._attention_layer, target)
        attended = _attention(block._attention_layer, inputs, target, mask[:, :rows])
        output = block._attention_layer._output_dense
        attended = _end(block._attention_dropout, output, _product(attended, output.kernel))
        if block._norm_first:
            residual = source + attended.added_up()
            target = tf.cast(block._output_layer_norm(residual), inputs.dtype)
        else:
            norm, dtypes = block._attention_layer_norm, (inputs.dtype.name, "float32")
            target, residual = _add_and_normalize(norm, attended, target, dtypes)
        _tell(block._intermediate_dense, target)
        output = _end(block._output_dropout, block._output_dense, self._feed_forward(target))
        if block._norm_first:
            return residual + output.added_up()
        dtypes = ("float32" if self._last else inputs.dtype.name,)
        return _add_and_normalize(block._output_layer_norm, output, residual, dtypes)[0]

    def _feed_forward(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the feed-forward network's output without the last bias."""
        block = self._block
        inner, activation = block._intermediate_dense, block._intermediate_activation_layer
        hidden = _product(inputs, inner.kernel)
        if self._activation is None:
            hidden = activation(hidden + tf.cast(inner.bias, hidden.dtype))
        else:
            hidden = islands.activate(hidden, _read(inner.bias), self._activation, inner.trainable)
        hidden = block._inner_dropout_layer(tf.cast(hidden, inputs.dtype))
        return _product(hidden, block._output_dense.kernel)


def _pure_activation(function: Any) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Returns the function of an activation; None if it is a layer, which may have a state."""
    return None if isinstance(function, tf_keras.layers.Layer) else _shared(function)


@functools.cache
def _shared(function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function itself, or one that computes the same, whose island is compiled once."""
    try:
        with tf.init_scope():  # Whoever asks may be tracing a graph.
            name = activation_name(lambda x: function(tf.constant(x)))
    except ValueError:  # It takes no vector, as softmax.
        return function
    return _BY_NAME.setdefault(name, function) if name in KNOWN else function


def _draws_by_key(dropout: tf_keras.layers.Layer) -> bool:
    if type(dropout) is not tf_keras.layers.Dropout or dropout.noise_shape is not None:
        return False
    return not dropout.rate or key_of(dropout) is not None


def _key(dropout: tf_keras.layers.Dropout) -> tf.Tensor:
    return key_of(dropout) if dropout.rate else tf.zeros([], tf.uint64)


def _tell(layer: tf_keras.layers.Layer, tensor: tf.Tensor) -> None:
    """Puts a layer's input on its wire, as it would if it were called."""
    if isinstance(layer, TellsInput):
        layer.wire.put(tensor)


def _attention(
    attention: tf_keras.layers.Layer, inputs: tf.Tensor, target: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """Returns what attention gives to its last projection, `<float>[batch, to, heads * width]`."""
    query, key, value = (
        (attention._query_dense, 1 / math.sqrt(attention._key_dim)),
        (attention._key_dense, 1.0),
        (attention._value_dense, 1.0),
    )
    if target is inputs:
        query, key, value = _project(inputs, query, key, value)
    else:
        (query,), (key, value) = _project(target, query), _project(inputs, key, value)
    dropout = attention._dropout_layer
    output = islands.attend(query, key, value, mask, _key(dropout), dropout.rate)
    return _merge(tf.transpose(output, [0, 2, 1, 3]), 2)


def _project(inputs: tf.Tensor, *dense: tuple[tf_keras.layers.Layer, float]) -> list[tf.Tensor]:
    """Returns `<float>[batch, heads, seq, width]` of each projection, scaled; in one product."""
    # To scale a kernel is to scale what it gives.
    kernels = [_merge(_read(layer.kernel), 1) * scale for layer, scale in dense]
    biases = [_merge(_read(layer.bias), 0) * scale for layer, scale in dense]
    kernel, bias = (tf.cast(tf.concat(x, -1), inputs.dtype) for x in (kernels, biases))
    # Not as a matrix: oneDNN's product in bfloat16 is slower where a bias is fused with it.
    product = tf.nn.bias_add(_product(inputs, kernel), bias)
    batch, seq = _sizes(inputs)[:2]
    heads, width = dense[0][0].kernel.shape[1:]
    product = tf.reshape(product, [batch, seq, len(dense), heads, width])
    return tf.unstack(tf.transpose(product, [2, 0, 3, 1, 4]))


def _product(inputs: tf.Tensor, kernel: tf.Tensor | tf.Variable) -> tf.Tensor:
    """Returns `<float>[batch, seq, units]`, what a dense layer gives without its bias."""
    kernel = tf.cast(_read(kernel), inputs.dtype)
    kernel = tf.reshape(kernel, [-1, kernel.shape[-1]])
    batch, seq = _sizes(inputs)[:2]
    product = tf.matmul(_merge(inputs, 0, 2), kernel)
    return tf.reshape(product, [batch, seq, kernel.shape[-1]])


def _end(
    end: tf_keras.layers.Layer, dense: tf_keras.layers.Layer, product: tf.Tensor
) -> islands.Sum:
    """Returns a sub-layer's output: a product's with its bias, dropped and adapted."""
    dropout = getattr(end, "dropout", end)
    adapter = end.adapter if isinstance(end, DropoutThenAdapter) else None
    read = () if getattr(end, "wire", None) is None else (end.wire.take(),)
    usual = adapter is not None and _is_usual_adapter(adapter)
    # A sequential adapter reads the output that its own is added to.
    copies = 2 if usual and not read else 1
    told = (product, _read(dense.bias), _key(dropout), dropout.rate, dense.trainable)
    outputs = islands.drop(*told, copies)
    if adapter is None:
        return islands.Sum(outputs)
    if not usual:
        return islands.Sum((tf.cast(adapter(*read, *outputs, training=True), product.dtype),))
    change, bias = _change(adapter, *(read or outputs[1:]))
    return islands.Sum((outputs[0], change), bias, adapter.trainable)


def _is_usual_adapter(adapter: tf_keras.layers.Layer) -> bool:
    """Says whether an adapter's change is added, and is of dense layers and activations alone."""
    return (
        type(adapter) is BottleneckAdapter
        and adapter.form in ("sequential", "parallel")
        and not (adapter.norm or adapter.gate or adapter.dropout)
        and _pure_activation(adapter._activation) is not None
    )


def _change(adapter: BottleneckAdapter, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an adapter's change, `<float>[batch, seq, hidden]`, without its bias, and that."""
    activation, hidden = _pure_activation(adapter._activation), inputs
    for layer in (adapter.down, *adapter.hidden):
        product = _product(hidden, layer.kernel)
        hidden = islands.activate(product, _read(layer.bias), activation, layer.trainable)
    # To scale a kernel is to scale what it gives.
    scale = _read(adapter.scale_weight) if isinstance(adapter.scale, str) else adapter.scale
    kernel, bias = (_read(variable) * scale for variable in (adapter.up.kernel, adapter.up.bias))
    return _product(hidden, kernel), bias


def _add_and_normalize(
    norm: tf_keras.layers.Layer,
    inputs: islands.Sum,
    residual: tf.Tensor,
    dtypes: tuple[str, ...],
) -> tuple[tf.Tensor, ...]:
    """Returns norm(residual + inputs), in each dtype."""
    if hasattr(norm, "adapter"):
        output = norm(tf.cast(residual, tf.float32) + tf.cast(inputs.added_up(), tf.float32))
        return tuple(tf.cast(output, dtype) for dtype in dtypes)
    return islands.add_and_normalize(
        inputs,
        residual,
        _read(norm.gamma),
        _read(norm.beta),
        norm.epsilon,
        norm.trainable,
        dtypes,
    )


def _read(variable: tf.Variable | tf.Tensor) -> tf.Tensor:
    return tf.convert_to_tensor(variable)


def _sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if n is None else n for axis, n in enumerate(tensor.shape)]


def _merge(tensor: tf.Tensor, first: int, count: int = 2) -> tf.Tensor:
    """Makes one of some neighbouring axes."""
    sizes = _sizes(tensor)
    return tf.reshape(tensor, [*sizes[:first], -1, *sizes[first + count :]])
