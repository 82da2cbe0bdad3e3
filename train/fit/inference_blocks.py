"""BERT's blocks as evaluation and SavedModels compute them: the same function, fewer operations.

A block's own code multiplies tensors of three and four axes by einsum. Here all positions of a
batch are rows of one matrix, query, key and value are one product, and what follows a product has
the form that TensorFlow's graph optimiser fuses with it on CPUs: bias, and gelu. A SavedModel has
its kernels as copies, in the precision that they are multiplied in.
"""

from __future__ import annotations

import contextlib
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.nlp.modeling import layers

from keras_adapters.model_garden.hosts.bert import BertHost
from keras_adapters.model_garden.hosts.host import activation_of
from keras_adapters.model_garden.layers import BottleneckAdapter

_ATTENTION = tf_keras.layers.MultiHeadAttention
# What `BertHost.block_architecture` tells of a block that is computed here.
_KNOWN = {"heads", "activation", "norm_first"}
_MASKED = -1e9  # As tf_keras.layers.Softmax has it.


@contextlib.contextmanager
def inference_blocks(model: tf_keras.Model, copied: bool) -> Iterator[list[InferenceBlock]]:
    """While this lasts, what is traced of a model has its blocks in the form for inference.

    Blocks of other kinds, or with settings that BERT's have not, stay as they are.

    Args:
      model: a built model; it stays as it is.
      copied: compute with copies of the kernels as they are now, or with the model's own, also
        as they change later.

    Yields:
      What computes in the blocks' place.
    """
    blocks = [block for block in model.submodules if _is_known(block)]
    others = [InferenceBlock(block, copied) for block in blocks]
    before = [vars(block).get("call") for block in blocks]
    # Past Keras, which would track them.
    for block, call in zip(blocks, others, strict=True):
        object.__setattr__(block, "call", call)
    try:
        yield others
    finally:
        for block, call in zip(blocks, before, strict=True):
            if call is None:
                object.__delattr__(block, "call")
            else:
                object.__setattr__(block, "call", call)


class InferenceBlock:
    """Computes a `TransformerEncoderBlock` at inference.

    Args:
      block: the block, built, adapted or not; it normalises after its residual additions.
      copied: compute with copies of the kernels, made when it is first called.
    """

    def __init__(self, block: tf_keras.layers.Layer, copied: bool) -> None:
        self._block = block
        self._copied = copied
        self._attention = block._attention_layer
        self._width = block._output_dense.kernel.shape[-1]
        self._copies: dict[Any, tuple[tf.Variable, tf.Variable]] = {}

    @property
    def variables(self) -> list[tf.Variable]:
        """What the block's kernels and biases were copied to, as far as it was called."""
        return [variable for pair in self._copies.values() for variable in pair]

    @tf.autograph.experimental.do_not_convert
    def __call__(self, inputs: Any, output_range: int | None = None) -> tf.Tensor:
        """Returns the block's output.

        Args:
          inputs: the states, `<float>[batch, seq, width]`, in the precision that the block
            computes in, and where each position attends to, `<float>[batch, seq, seq]`.
          output_range: how many positions are wanted; `None` is all.

        Returns:
          `<float32>[batch, positions, width]`.
        """
        block = self._block
        states, mask = inputs if isinstance(inputs, list | tuple) else (inputs, None)
        output_range = block._output_range if output_range is None else output_range
        wanted = states[:, :output_range] if output_range else states
        if mask is not None and output_range:
            mask = mask[:, :output_range]
        shape = tf.shape(wanted)
        context = self._attend(states, wanted, mask)
        output = self._dense(context, self._attention._output_dense)
        rows = self._rows(wanted)
        output = self._adapt(block._attention_dropout, output, rows, shape)
        attended = self._norm(block._attention_layer_norm, rows + output, shape)
        inner = self._dense(attended, block._intermediate_dense)
        activation = block._intermediate_activation_layer
        inner = _activation(activation, activation.activation)(inner)
        output = self._dense(inner, block._output_dense)
        reads = tf.cast(attended, output.dtype)
        output = self._adapt(block._output_dropout, output, reads, shape)
        output = tf.cast(output, attended.dtype)
        output = self._norm(block._output_layer_norm, output + attended, shape)
        return tf.reshape(output, shape)

    def _attend(self, states: tf.Tensor, wanted: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        """Returns what the heads read, `<float>[batch * positions, heads * size]`."""
        attention = self._attention
        query, key, value = (
            attention._query_dense,
            attention._key_dense,
            attention._value_dense,
        )
        if wanted is states:
            queries, keys, values = self._heads(states, query, key, value)
        else:
            (queries,) = self._heads(wanted, query)
            keys, values = self._heads(states, key, value)
        scores = tf.matmul(queries, keys, transpose_b=True) / math.sqrt(attention._key_dim)
        if mask is not None:
            scores += ((1 - tf.cast(mask, scores.dtype)) * _MASKED)[:, tf.newaxis]
        context = tf.matmul(tf.nn.softmax(scores), values)
        return tf.reshape(
            tf.transpose(context, [0, 2, 1, 3]), [-1, attention._num_heads * attention._value_dim]
        )

    def _heads(self, states: tf.Tensor, *dense: tf_keras.layers.Layer) -> list[tf.Tensor]:
        """Returns one or more projections, `<float>[batch, heads, positions, size]` each."""
        shape = tf.shape(states)
        projected = self._dense(self._rows(states), *dense)
        heads, size = dense[0].kernel.shape[1:]
        projected = tf.reshape(projected, [shape[0], shape[1], len(dense), heads, size])
        return tf.unstack(tf.transpose(projected, [2, 0, 3, 1, 4]), num=len(dense))

    def _rows(self, states: tf.Tensor) -> tf.Tensor:
        return tf.reshape(states, [-1, self._width])

    def _dense(self, rows: tf.Tensor, *dense: tf_keras.layers.Layer) -> tf.Tensor:
        """Returns the outputs of layers beside each other, `<float>[rows, features]`."""
        kernel, bias = self._copies_of(*dense) if self._copied else _joined(dense)
        return tf.nn.bias_add(tf.matmul(tf.cast(rows, kernel.dtype), kernel), bias)

    def _copies_of(self, *dense: tf_keras.layers.Layer) -> tuple[tf.Variable, ...]:
        names = tuple(map(id, dense))
        if names not in self._copies:
            with tf.init_scope():
                copies = tuple(tf.Variable(x, trainable=False) for x in _joined(dense))
            self._copies[names] = copies
        return self._copies[names]

    def _adapt(
        self, end: tf_keras.layers.Layer, output: tf.Tensor, reads: tf.Tensor, shape: tf.Tensor
    ) -> tf.Tensor:
        """Returns a sub-layer's output as what stands at its end changes it."""
        adapter = getattr(end, "adapter", None)
        if adapter is None:
            return output
        parallel = end.wire is not None
        if not _is_plain(adapter):
            tensors = (reads, output) if parallel else (output,)
            changed = adapter(*(tf.reshape(tensor, shape) for tensor in tensors), training=False)
            return self._rows(changed)
        hidden = reads if parallel else output
        activation = _activation(adapter, adapter._activation)
        for dense in (adapter.down, *adapter.hidden):
            hidden = activation(self._dense(hidden, dense))
        change = self._dense(hidden, adapter.up)
        if adapter.scale != 1:
            change *= tf.cast(
                adapter.scale_weight if isinstance(adapter.scale, str) else adapter.scale,
                change.dtype,
            )
        multiplies = adapter.form == "parallel_multiplicative"
        return output * (1 + change) if multiplies else output + change

    def _norm(self, norm: tf_keras.layers.Layer, rows: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """Returns a LayerNorm's output, and that of what reads it there."""
        plain = getattr(type(norm), "plain_class", type(norm))
        if plain is not tf_keras.layers.LayerNormalization:
            return self._rows(norm(tf.reshape(rows, shape)))
        rows = tf.cast(rows, norm.compute_dtype)
        adapter = getattr(norm, "adapter", None)
        if adapter is not None:
            normed = tf.reshape(_normalise(norm, rows), shape)
            rows = self._rows(adapter(normed, tf.reshape(rows, shape)))
        return _normalise(norm, rows)


def _normalise(norm: tf_keras.layers.Layer, rows: tf.Tensor) -> tf.Tensor:
    centred = rows - tf.reduce_mean(rows, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * (tf.math.rsqrt(variance + norm.epsilon) * norm.gamma) + norm.beta


def _joined(dense: Sequence[tf_keras.layers.Layer]) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the kernels `[width, features]` and biases of layers beside each other."""
    dtype = dense[0].compute_dtype
    features = [math.prod(each.bias.shape) for each in dense]
    kernels = [
        tf.reshape(tf.cast(each.kernel, dtype), [-1, count])
        for each, count in zip(dense, features, strict=True)
    ]
    biases = [tf.reshape(tf.cast(each.bias, dtype), [-1]) for each in dense]
    return tf.concat(kernels, axis=1), tf.concat(biases, axis=0)


def _gelu(x: tf.Tensor) -> tf.Tensor:
    return 0.5 * x * (1 + tf.math.erf(x * math.sqrt(0.5)))


# By names as `activation_of` gives them. Keras's own gelu is of erfc, which is not fused.
_FUSED: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {"gelu": _gelu}


def _activation(layer: tf_keras.layers.Layer, function: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a layer's activation, in the form that is fused with a product if it has one.

    That one is computed of the product's sum in float32 where it is fused, and in the product's
    precision where it is not; any other in the layer's.
    """
    told = types.SimpleNamespace(name=layer.name, activation=function)
    name = None
    with contextlib.suppress(ValueError), tf.init_scope():
        name = activation_of(told)  # Not of one with variables, or not known by name.
    return _FUSED.get(name, lambda x: function(tf.cast(x, layer.compute_dtype)))


def _is_plain(adapter: tf_keras.layers.Layer) -> bool:
    """Says whether an adapter is computed position by position, without a norm."""
    return type(adapter) is BottleneckAdapter and adapter.norm is None and not adapter.gate


def _is_known(block: object) -> bool:
    """Says whether a layer is a block that `InferenceBlock` computes."""
    if type(block) is not layers.TransformerEncoderBlock or not block.built:
        return False
    attention = block._attention_layer
    if getattr(type(attention), "plain_class", type(attention)) is not _ATTENTION:
        return False
    try:
        with tf.init_scope():  # Its activation is computed, to tell which it is.
            told = BertHost(type(block)).block_architecture(block)
    except ValueError:  # Of an activation that cannot be described.
        return False
    products = (
        *(attention._query_dense, attention._key_dense, attention._value_dense),
        *(attention._output_dense, block._intermediate_dense, block._output_dense),
    )
    return (
        set(told) == _KNOWN
        and not told["norm_first"]
        and not block._return_attention_scores
        and attention._key_dim == attention._value_dim
        and all(each.bias is not None and not hasattr(each, "adapter") for each in products)
    )
