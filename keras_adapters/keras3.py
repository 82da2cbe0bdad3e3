"""The bottleneck adapter as a Keras 3 layer, on any backend."""

from __future__ import annotations

from typing import Any

import keras

from keras_adapters.bottleneck import Bottleneck


@keras.saving.register_keras_serializable(package="keras_adapters")
class BottleneckAdapter(Bottleneck, keras.layers.Layer):
    """Bottleneck adapter as a Keras 3 layer, on any backend.

    Projects its inputs x from d features down to m = `size`, applies `activation`, projects up
    to d again and adds the inputs: `x + up(activation(down(x)))`. The kernels start near
    zero, so a new adapter is nearly the identity. It has `2 * m * d + d + m` parameters.

    The options make it one of the variants that are known; what they add to its parameters:

    | option                           | change of the formula                | parameters      |
    |----------------------------------|--------------------------------------|-----------------|
    | `norm="layer"`                   | down(LayerNorm(x))                   | 2d              |
    | `norm="batch"`                   | down(BatchNorm(x))                   | 2d + 2d at rest |
    | `hidden_layers=n`                | n - 1 times activation(dense m -> m) | (n-1)(m² + m)   |
    | `scale=s`                        | x + s * up(...)                      | 0               |
    | `scale="learned"`                | s is a weight, at first 1            | 1               |
    | `scale="per_channel"`            | s is a vector, at first of ones      | d               |
    | `gate=True`                      | x + mean(sigmoid(w x + b)) * up(...) | d + 1           |
    | `form="parallel"`                | h + up(...), h a call argument       | 0               |
    | `form="after_norm"`              | the same                             | 0               |
    | `form="parallel_multiplicative"` | h * (1 + up(...))                    | 0               |

    Those at rest do not train: a BatchNorm's moving statistics. What x and h are in a
    Transformer's block, `AdapterConfig` says.

    Args:
      size: the bottleneck's width m, at least 1; m << d saves parameters.
      activation: a Keras activation, its name or the function. `"gelu"` is the erf form;
        `"gelu_tanh"` the tanh approximation of the paper's released code.
      init_stddev: standard deviation of the kernels' truncated-normal initial values
        (cut at two standard deviations). Biases start at zero.
      dropout: probability of dropping a unit of the up-projection while training.
      reduction_factor: instead of `size`: m is `int(d // reduction_factor)`, and at least 1.
      form: `"sequential"`, `"after_norm"`, `"parallel"` or `"parallel_multiplicative"`.
      norm: `"layer"`, `"batch"` or nothing. Both have an epsilon of 1e-5; the BatchNorm, over
        all axes but the last, has a momentum of 0.9.
      hidden_layers: layers of m units, at least 1.
      scale: a number above 0, `"learned"` or `"per_channel"`.
      gate: whether the change is multiplied by a gate, one number for each row of the batch:
        the mean is over all axes between the first and the last.
      **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
      inputs: `<float>[..., d]`, with d known when the layer is built: what the adapter reads.
      output: `<float>[..., d]`: what it changes, in all forms but the sequential, which
        changes its inputs.
      training: whether to apply dropout, and to normalise by the batch and keep its moments.

    Returns:
      `<float>[..., d]`, in the layer's compute dtype.

    Raises:
      ValueError: an argument is out of its range, two contradict each other, or d is unknown
        when building; at a call, `output` is missing or too much.

    Example:
    >>> adapter = BottleneckAdapter(64)
    >>> adapter(keras.ops.ones((2, 128, 768))).shape
    (2, 128, 768)
    >>> parallel = BottleneckAdapter(512, "relu", form="parallel", scale=4)
    >>> outputs = parallel(inputs, feed_forward(inputs))

    Reference:
      Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", sections 2.1 and
      3.6; He et al. 2022, "Towards a Unified View of Parameter-Efficient Transfer Learning",
      of the parallel form; AdapterHub's `adapters/methods/modeling.py`, of scale and gate.
    """

    keras = keras

    def _zeros(self, shape: tuple[int, ...]) -> Any:
        return keras.ops.zeros(shape)

    def _cast(self, tensor: Any, dtype: Any) -> Any:
        return keras.ops.cast(tensor, dtype)

    def _mean(self, tensor: Any, axes: tuple[int, ...]) -> Any:
        return keras.ops.mean(tensor, axis=axes, keepdims=True) if axes else tensor
