"""The bottleneck adapter as a Keras 3 layer, on any backend."""

from __future__ import annotations

from typing import Any

import keras

from keras_adapters.bottleneck import Bottleneck


@keras.saving.register_keras_serializable(package="keras_adapters")
class BottleneckAdapter(Bottleneck, keras.layers.Layer):
    """Bottleneck adapter as a Keras 3 layer, on any backend.

    Projects its inputs from d features down to `size`, applies `activation`, projects up
    to d again and adds the inputs: `x + up(activation(down(x)))`. The kernels start near
    zero, so a new adapter is nearly the identity. It has `2 * size * d + d + size`
    parameters.

    Args:
      size: the bottleneck's width m, at least 1; m << d saves parameters.
      activation: a Keras activation, its name or the function. `"gelu"` is the erf form;
        `"gelu_tanh"` the tanh approximation of the paper's released code.
      init_stddev: standard deviation of the kernels' truncated-normal initial values
        (cut at two standard deviations). Biases start at zero.
      dropout: probability of dropping a unit of the up-projection while training.
      **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
      inputs: `<float>[..., d]`, with d known when the layer is built.
      training: whether to apply dropout.

    Returns:
      `<float>[..., d]`, in the layer's compute dtype.

    Raises:
      ValueError: an argument is out of its range, or d is unknown when building.

    Example:
    >>> adapter = BottleneckAdapter(64)
    >>> adapter(keras.ops.ones((2, 128, 768))).shape
    (2, 128, 768)

    Reference:
      Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1.
    """

    keras = keras

    def _zeros(self, shape: tuple[int, ...]) -> Any:
        return keras.ops.zeros(shape)
