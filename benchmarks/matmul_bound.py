"""How fast this machine multiplies matrices: the bound that no training step can pass."""

from __future__ import annotations

import time

import tensorflow as tf

_SECONDS = 1.0
_LEAST_REPEATS = 5


def bound(dtype: tf.DType | str, shape: tuple[int, int, int], seconds: float = _SECONDS) -> float:
    """Times one matrix product by itself, over and over.

    Args:
      dtype: of the factors, such as `"bfloat16"`.
      shape: (m, k, n), of the product of `[m, k]` and `[k, n]`.
      seconds: how long to go on.

    Returns:
      Floating-point operations a second, two for each multiplication and addition, of the
      fastest repeat: what else the machine does can only make one slower.

    Raises:
      ValueError: a size is below 1.
    """
    m, k, n = shape
    if min(shape) < 1:
        raise ValueError(f"`shape` must be of three sizes of at least 1. Received: shape={shape}")
    left = tf.cast(tf.random.stateless_normal([m, k], [0, 1]), dtype)
    right = tf.cast(tf.random.stateless_normal([k, n], [0, 2]), dtype)

    @tf.function
    def multiply() -> tf.Tensor:
        # A corner, so that a device answers without sending the product.
        return (left @ right)[:1, :1]

    multiply().numpy()
    fastest, repeats, end = float("inf"), 0, time.perf_counter() + seconds
    while repeats < _LEAST_REPEATS or time.perf_counter() < end:
        start = time.perf_counter()
        multiply().numpy()
        fastest = min(fastest, time.perf_counter() - start)
        repeats += 1
    return 2 * m * k * n / fastest
