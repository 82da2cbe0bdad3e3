"""What stands between the matrix products of a block, each forward and backward one operation.

Outside of XLA every step of an activation or a norm goes through memory, and keeps what its
gradient needs. Here each is one function that XLA compiles, once for every shape, and all blocks
share: it computes in float32, takes and gives tensors of the compute dtype, and keeps for its
gradient its inputs alone. The products themselves stay outside, for on CPUs XLA has slower ones.

`training` keeps dropout on; what is dropped follows from a key, see `train.fit.dropout`.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from train.fit.dropout import keep_mask, keep_scale

# What a position that is not attended to gets added to its score, as in Keras's softmax.
_MASKED = -1e9
_EIGHTHS = 8
_island = functools.partial(tf.function, jit_compile=True, autograph=False)

Activation = Callable[[tf.Tensor], tf.Tensor]


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Returns gelu by erf, without a division."""
    return x * (0.5 + 0.5 * tf.math.erf(x * math.sqrt(0.5)))


def activate(
    inputs: tf.Tensor, bias: tf.Tensor, function: Activation, bias_trains: bool
) -> tf.Tensor:
    """Adds a bias and applies an activation.

    Args:
      inputs: `<float>[..., width]`, a product.
      bias: `<float>[width]`.
      function: of one tensor, without a state.
      bias_trains: whether the bias needs a gradient.

    Returns:
      `<float>[..., width]`, of the inputs' dtype.
    """
    forward, backward = _activation(function, bias_trains)

    @tf.custom_gradient
    def compute(inputs: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return forward(inputs, bias), lambda upstream: backward(inputs, bias, upstream)

    return compute(inputs, bias)


@functools.cache
def _activation(function: Activation, bias_trains: bool) -> tuple[Any, Any]:
    @_island
    def forward(inputs: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        return tf.cast(function(_float(inputs) + _float(bias)), inputs.dtype)

    @_island
    def backward(
        inputs: tf.Tensor, bias: tf.Tensor, upstream: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        before = _float(inputs) + _float(bias)
        with tf.GradientTape() as tape:
            tape.watch(before)
            after = function(before)
        gradient = tape.gradient(after, before, _float(upstream))
        of_bias = tf.cast(_over_rows(gradient), bias.dtype) if bias_trains else None
        return tf.cast(gradient, inputs.dtype), of_bias

    return forward, backward


def drop(
    inputs: tf.Tensor,
    bias: tf.Tensor,
    key: tf.Tensor,
    rate: float,
    bias_trains: bool,
    copies: int = 1,
) -> tuple[tf.Tensor, ...]:
    """Adds a bias and applies dropout.

    Args:
      inputs: `<float>[..., width]`, a product.
      bias: `<float>[width]`.
      key: `<uint64>[]`, see `train.fit.dropout.keep_mask`.
      rate: probability of dropping a feature.
      bias_trains: whether the bias needs a gradient.
      copies: how many read the output.

    Returns:
      `<float>[..., width]`, of the inputs' dtype, for each reader; their gradients are added up
      where they are needed.
    """

    @tf.custom_gradient
    def compute(
        inputs: tf.Tensor, bias: tf.Tensor, key: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, ...], Any]:
        def gradient(*upstream: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
            return *_drop_gradient(upstream, bias, key, rate, bias_trains), None

        output = _drop(inputs, bias, key, rate)
        return tuple(tf.identity(output) for _ in range(copies)), gradient

    return compute(inputs, bias, key)


@_island
def _drop(inputs: tf.Tensor, bias: tf.Tensor, key: tf.Tensor, rate: float) -> tf.Tensor:
    return tf.cast(_kept(_float(inputs) + _float(bias), key, rate), inputs.dtype)


@_island
def _drop_gradient(
    upstream: tuple[tf.Tensor, ...], bias: tf.Tensor, key: tf.Tensor, rate: float, bias_trains: bool
) -> tuple[tf.Tensor, tf.Tensor | None]:
    gradient = _kept(_total(upstream), key, rate)
    of_bias = tf.cast(_over_rows(gradient), bias.dtype) if bias_trains else None
    return tf.cast(gradient, upstream[0].dtype), of_bias


class Sum(NamedTuple):
    """What a sub-layer gives, not yet added up.

    Attributes:
      terms: each `<float>[..., width]`, in the compute dtype.
      bias: `<float>[width]`, added too; `None` is none.
      bias_trains: whether the bias needs a gradient.
    """

    terms: tuple[tf.Tensor, ...]
    bias: tf.Tensor | None = None
    bias_trains: bool = False

    def added_up(self) -> tf.Tensor:
        """Returns `<float>[..., width]`, in the compute dtype."""
        total = _total(self.terms if self.bias is None else (*self.terms, self.bias))
        return tf.cast(total, self.terms[0].dtype)


def add_and_normalize(
    inputs: Sum,
    residual: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    trains: bool,
    dtypes: tuple[str, ...],
) -> tuple[tf.Tensor, ...]:
    """Adds a residual and normalises over the features.

    Args:
      inputs: what the residual is added to.
      residual: `<float>[..., width]`, in the compute dtype or in float32.
      gamma: `<float32>[width]`, the scale.
      beta: `<float32>[width]`, the offset.
      epsilon: is added to the variance.
      trains: whether gamma and beta need gradients.
      dtypes: names of what the next ones read: products the compute dtype, residuals float32.

    Returns:
      What is normalised, `<float>[..., width]`, in each of the dtypes; their gradients are added
      up where they are needed.
    """
    biases = () if inputs.bias is None else (inputs.bias,)

    @tf.custom_gradient
    def compute(
        gamma: tf.Tensor, beta: tf.Tensor, *added: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, ...], Any]:
        *outputs, mean, scale = _normalize(added, gamma, beta, epsilon, dtypes)

        def gradient(*upstream: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
            told = (added, gamma, mean, scale, upstream, trains, inputs.bias_trains)
            of_gamma, of_beta, of_residual, of_term, of_bias = _normalize_gradient(*told)
            of_terms = [of_term] * len(inputs.terms)
            return of_gamma, of_beta, of_residual, *of_terms, *([of_bias] * len(biases))

        return tuple(outputs), gradient

    return compute(gamma, beta, residual, *inputs.terms, *biases)


@_island
def _normalize(
    added: tuple[tf.Tensor, ...],
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    dtypes: tuple[str, ...],
) -> tuple[tf.Tensor, ...]:
    total = _total(added)
    mean = _mean(total)
    variance = _mean(tf.square(total - mean))
    scale = tf.math.rsqrt(variance + epsilon)
    output = (total - mean) * scale * gamma + beta
    return *(tf.cast(output, dtype) for dtype in dtypes), mean, scale


@_island
def _normalize_gradient(
    added: tuple[tf.Tensor, ...],
    gamma: tf.Tensor,
    mean: tf.Tensor,
    scale: tf.Tensor,
    upstream: tuple[tf.Tensor, ...],
    trains: bool,
    bias_trains: bool,
) -> tuple[tf.Tensor | None, ...]:
    """Returns the gradients of gamma, of beta, of the residual, of each term and of the bias."""
    residual, term, *_ = added
    normal = (_total(added) - mean) * scale
    upstream = _total(upstream)
    inner = upstream * gamma
    along = _mean(inner * normal)
    gradient = scale * (inner - _mean(inner) - normal * along)
    of_norm = (_over_rows(upstream * normal), _over_rows(upstream)) if trains else (None, None)
    of_bias = tf.cast(_over_rows(gradient), added[-1].dtype) if bias_trains else None
    return *of_norm, tf.cast(gradient, residual.dtype), tf.cast(gradient, term.dtype), of_bias


def attend(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor,
    dropout_key: tf.Tensor,
    rate: float,
) -> tf.Tensor:
    """Returns dropout(softmax(masked(query key'))) value.

    Args:
      query: `<float>[batch, heads, to, width]`, scaled.
      key: `<float>[batch, heads, from, width]`.
      value: `<float>[batch, heads, from, width]`.
      mask: `<float>[batch, to, from]`, 1 where a position attends to another, 0 elsewhere.
      dropout_key: `<uint64>[]`, see `train.fit.dropout.keep_mask`.
      rate: probability of dropping a weight.

    Returns:
      `<float>[batch, heads, to, width]`.

    Reference:
      Dao et al. 2022 (arXiv 2205.14135), appendix B.4, for the sum in the softmax's gradient.
    """

    @tf.custom_gradient
    def compute(
        query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask: tf.Tensor, dropout_key: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        scores = tf.matmul(query, key, transpose_b=True)
        # TensorFlow's optimiser cannot see what an island's shape is.
        weights = tf.nn.softmax(tf.ensure_shape(_masked(scores, mask), scores.shape))
        kept = _drop_weights(weights, dropout_key, rate) if rate else weights
        output = tf.matmul(kept, value)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
            of_kept = tf.matmul(upstream, value, transpose_b=True)
            of_scores = _score_gradient(weights, of_kept, output, upstream, dropout_key, rate)
            return (
                tf.matmul(of_scores, key),
                tf.matmul(of_scores, query, transpose_a=True),
                tf.matmul(kept, upstream, transpose_a=True),
                None,
                None,
            )

        return output, gradient

    return compute(query, key, value, mask, dropout_key)


@_island
def _masked(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.cast(_float(scores) + (1 - _float(mask))[:, tf.newaxis] * _MASKED, scores.dtype)


@_island
def _drop_weights(weights: tf.Tensor, key: tf.Tensor, rate: float) -> tf.Tensor:
    return tf.cast(_kept(_float(weights), key, rate), weights.dtype)


@_island
def _score_gradient(
    weights: tf.Tensor,
    of_kept: tf.Tensor,
    output: tf.Tensor,
    upstream: tf.Tensor,
    key: tf.Tensor,
    rate: float,
) -> tf.Tensor:
    # Of a row's weights times their gradients: the sum over features is the shorter one.
    along = tf.reduce_sum(_float(output) * _float(upstream), -1, keepdims=True)
    of_weights = _kept(_float(of_kept), key, rate)
    return tf.cast(_float(weights) * (of_weights - along), weights.dtype)


def _kept(values: tf.Tensor, key: tf.Tensor, rate: float) -> tf.Tensor:
    if not rate:
        return values
    dynamic = tf.shape(values)
    shape = [dynamic[axis] if n is None else n for axis, n in enumerate(values.shape)]
    return tf.where(keep_mask(key, shape, rate), values * keep_scale(rate), 0.0)


def _mean(values: tf.Tensor) -> tf.Tensor:
    """Returns the mean over the features, `<float32>[..., 1]`.

    On a CPU, XLA adds up a row one number after the other, as they stand. Added up first, its
    eighths are vectors.
    """
    width = values.shape[-1]
    on_cpu = not tf.config.list_logical_devices("GPU") + tf.config.list_logical_devices("TPU")
    if on_cpu and width % _EIGHTHS == 0:
        values = tf.add_n(tf.split(values, _EIGHTHS, axis=-1))
    return tf.reduce_sum(values, -1, keepdims=True) / width


def _total(values: Sequence[tf.Tensor]) -> tf.Tensor:
    return functools.reduce(operator.add, map(_float, values))


def _over_rows(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values, axis=range(values.shape.rank - 1))


def _float(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float32)
