"""Frozen weights kept in the type that they are computed in, so that no step casts them again."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras.src.mixed_precision.autocast_variable import AutoCastVariable


class FrozenCopies:
    """Copies of a model's frozen kernels and tables in the type that its layers compute in.

    Under mixed precision Keras keeps all variables in float32, and a layer casts its own each time
    that it is called. What does not train would be cast to the same values in each step, forward
    and backward; a copy is read instead, in half the bytes, and the variables themselves not at
    all. What is computed is the same, to the bit.

    Args:
      model: what of it trains must be settled. It must be built, and its weights loaded: the
        copies are made now.

    Make it in the scope of the model's strategy, and use it as a context around what computes a
    step; several replicas' threads may be inside at a time. Outside of it the variables are as
    ever: what saves, loads or exports them does not see the copies.
    """

    def __init__(self, model: tf_keras.Model) -> None:
        self._pairs: list[tuple[AutoCastVariable, tf.Variable, tf.Variable]] = []
        self._depth = 0
        for layer in model.submodules:
            if isinstance(layer, tf_keras.layers.Layer):
                self._copy_variables(layer)

    def __len__(self) -> int:
        """Returns the number of copies."""
        return len(self._pairs)

    def __enter__(self) -> FrozenCopies:
        if not self._depth:
            for variable, _, copy in self._pairs:
                variable._variable = copy
        self._depth += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if not self._depth:
            for variable, own, _ in self._pairs:
                variable._variable = own

    def _copy_variables(self, layer: tf_keras.layers.Layer) -> None:
        dtype = tf.as_dtype(layer.compute_dtype or tf.float32)
        # What does not train of a layer that does is its state, which changes.
        for variable in () if layer.trainable else layer._trainable_weights:
            is_cast = isinstance(variable, AutoCastVariable) and variable.true_dtype != dtype
            # A bias is small, and may be added in float32.
            if is_cast and variable is not getattr(layer, "bias", None):
                own = variable._variable
                copy = tf.Variable(tf.cast(own, dtype), trainable=False, name="frozen_copy")
                self._pairs.append((variable, own, copy))
