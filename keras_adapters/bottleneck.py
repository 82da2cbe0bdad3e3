"""The bottleneck adapter: its formula, written once, for any Keras.

`Bottleneck` takes its Keras as the attribute `keras`, because a layer of Keras 3 cannot
live in a `tf_keras` model nor the other way round. `keras_adapters.keras3` and
`keras_adapters.model_garden.layers` bind it.
"""

from __future__ import annotations

import functools
import numbers
from typing import Any

from keras_adapters.methods.bottleneck import check_bottleneck


class Bottleneck:
    """The maths of an adapter, for any Keras; mixed into a `Layer` of that Keras.

    A subclass sets `keras` (the module), derives from `keras.layers.Layer` too, and says
    how to make a tensor.
    """

    keras: Any = None

    def __init__(
        self,
        size: int,
        activation: Any = "gelu",
        init_stddev: float = 1e-2,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        size, init_stddev, dropout = check_bottleneck(size, init_stddev, dropout)
        super().__init__(**kwargs)
        self.size = size
        self._activation = self._find_activation(activation)
        # A config holds a dictionary where the argument was a layer.
        self.activation = self._activation if isinstance(activation, dict) else activation
        self.init_stddev = init_stddev
        self.dropout = dropout
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes `down` [d, m] and `up` [m, d] for inputs of shape [..., d].

        Raises:
          ValueError: the inputs are not one tensor, or their last dimension is unknown.
        """
        shape = tuple(input_shape or ())
        width = shape[-1] if shape else None
        if isinstance(input_shape, dict) or not isinstance(width, numbers.Integral):
            raise ValueError(
                "an adapter takes one tensor, whose last dimension must be known when it is "
                f"built. Received: input_shape={input_shape}"
            )
        self.down = self._dense("down", self.size)
        self.up = self._dense("up", int(width))
        self._dropout = self.keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self._build_child(self.down, shape)
        self._build_child(self.up, (*shape[:-1], self.size))
        if isinstance(self._activation, self.keras.layers.Layer) and not self._activation.built:
            self._build_child(self._activation, (*shape[:-1], self.size))
        super().build(input_shape)
        # The children were not there yet when the layer was frozen.
        for child in (self.down, self.up, self._dropout):
            child.trainable = self.trainable

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns inputs + up(activation(down(inputs))), of the inputs' shape."""
        hidden = self._activation(self.down(inputs))
        return inputs + self._dropout(self.up(hidden), training=training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns `input_shape`: an adapter keeps its inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, ready for JSON."""
        activation = self.activation
        if callable(activation):
            activation = self.keras.activations.serialize(activation)
        return {
            **super().get_config(),
            "size": self.size,
            "activation": activation,
            "init_stddev": self.init_stddev,
            "dropout": self.dropout,
        }

    def _dense(self, name: str, units: int) -> Any:
        return self.keras.layers.Dense(
            units,
            kernel_initializer=self.keras.initializers.TruncatedNormal(stddev=self.init_stddev),
            dtype=self.dtype_policy,
            name=name,
        )

    def _build_child(self, layer: Any, input_shape: tuple[int | None, ...]) -> None:
        layer.build(input_shape)

    def _zeros(self, shape: tuple[int, ...]) -> Any:
        raise NotImplementedError

    def _find_activation(self, activation: Any) -> Any:
        if isinstance(activation, str) and activation == "gelu_tanh":
            return functools.partial(self.keras.activations.gelu, approximate=True)
        found, problem = None, None
        try:
            found = self.keras.activations.get(activation)
            is_layer = isinstance(found, self.keras.layers.Layer)
            # Some names are those of other functions: what counts is what one returns. A layer
            # is built when it is called, so one that is given must not be called here.
            if not is_layer and tuple(found(self._zeros((1, 2))).shape) == (1, 2):
                return found
            if is_layer and not isinstance(activation, str):
                return found
        except Exception as error:  # Whatever that function raises of a tensor.
            problem = error
        raise ValueError(
            "`activation` must be a Keras activation (its name or the function, which keeps its "
            f'input\'s shape) or "gelu_tanh". Received: activation={activation!r}'
        ) from problem
