"""The bottleneck adapter: its formula, written once, for any Keras.

`Bottleneck` takes its Keras as the attribute `keras`, because a layer of Keras 3 cannot
live in a `tf_keras` model nor the other way round. `keras_adapters.keras3` and
`keras_adapters.model_garden.layers` bind it.
"""

from __future__ import annotations

import functools
import numbers
from typing import Any

from keras_adapters.methods.bottleneck import bottleneck_width, check_bottleneck

# As torch's LayerNorm and BatchNorm have them, and so AdapterHub's adapters.
_NORM_EPSILON = 1e-5
_BATCH_MOMENTUM = 0.9


class Bottleneck:
    """The maths of an adapter, for any Keras; mixed into a `Layer` of that Keras.

    A subclass sets `keras` (the module), derives from `keras.layers.Layer` too, and says
    how to make, to cast and to average tensors.
    """

    keras: Any = None

    def __init__(
        self,
        size: int | None = None,
        activation: Any = "gelu",
        init_stddev: float = 1e-2,
        dropout: float = 0.0,
        *,
        reduction_factor: float | None = None,
        form: str = "sequential",
        norm: str | None = None,
        hidden_layers: int = 1,
        scale: float | str = 1.0,
        gate: bool = False,
        **kwargs: Any,
    ) -> None:
        self._settings = check_bottleneck(
            size=size,
            reduction_factor=reduction_factor,
            init_stddev=init_stddev,
            dropout=dropout,
            form=form,
            norm=norm,
            hidden_layers=hidden_layers,
            scale=scale,
            gate=gate,
        )
        super().__init__(**kwargs)
        for name, value in self._settings.items():
            setattr(self, name, value)
        self._activation = self._find_activation(activation)
        # A config holds a dictionary where the argument was a layer.
        self.activation = self._activation if isinstance(activation, dict) else activation
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes the weights for inputs of shape [..., d].

        These are `down` [d, m], `hidden` [m, m] each, `up` [m, d], and what norm, scale and gate
        have.

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
        width = int(width)
        units = bottleneck_width(self.size, self.reduction_factor, width)
        inside = (*shape[:-1], units)
        self.norm_layer = self._make_norm()
        self.down = self._dense("down", units)
        self.hidden = [self._dense(f"hidden_{i}", units) for i in range(1, self.hidden_layers)]
        self.up = self._dense("up", width)
        self.gate_layer = self._dense("gate", 1) if self.gate else None
        self._dropout = self.keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        built = [(self.norm_layer, shape), (self.down, shape), *((h, inside) for h in self.hidden)]
        built = [*built, (self.up, inside), (self.gate_layer, shape)]
        for child, child_shape in built:
            if child is not None:
                self._build_child(child, child_shape)
        if isinstance(self._activation, self.keras.layers.Layer) and not self._activation.built:
            self._build_child(self._activation, inside)
        if isinstance(self.scale, str):
            self.scale_weight = self.add_weight(
                name="scale", shape=() if self.scale == "learned" else (width,), initializer="ones"
            )
        super().build(input_shape)
        # The children were not there yet when the layer was frozen.
        for child in (*(child for child, _ in built), self._dropout):
            if child is not None:
                child.trainable = self.trainable

    def call(self, inputs: Any, output: Any = None, training: bool | None = None) -> Any:
        """Returns the output with the change that `change` computes of the inputs.

        It is `inputs + change` in the sequential form, `output * (1 + change)` in the
        multiplicative and `output + change` in the others; of the inputs' shape.
        """
        if (output is None) != (self.form == "sequential"):
            raise ValueError(
                "an adapter is called with `inputs` alone if its form is sequential, and with "
                "`inputs` and the `output` that it changes otherwise. Received: "
                f"form={self.form!r}, output={output!r}"
            )
        change = self.change(inputs, training=training)
        output = inputs if output is None else output
        change = self._cast(change, output.dtype)
        return output * (1 + change) if self.form == "parallel_multiplicative" else output + change

    def change(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns gate * scale * dropout(up(...activation(down(norm(inputs))))), as the inputs."""
        hidden = inputs
        if self.norm_layer is not None:
            # A LayerNorm takes no `training`.
            told = {"training": training} if self.norm == "batch" else {}
            hidden = self.norm_layer(hidden, **told)
        for layer in (self.down, *self.hidden):
            hidden = self._activation(layer(hidden))
        change = self._dropout(self.up(hidden), training=training)
        if self.scale != 1:
            change *= self.scale_weight if isinstance(self.scale, str) else self.scale
        if self.gate_layer is not None:
            gates = self.keras.activations.sigmoid(self.gate_layer(inputs))
            change *= self._mean(gates, tuple(range(1, len(gates.shape) - 1)))
        return change

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns `input_shape`: an adapter keeps its inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, ready for JSON."""
        activation = self.activation
        if callable(activation):
            activation = self.keras.activations.serialize(activation)
        return {**super().get_config(), **self._settings, "activation": activation}

    def _dense(self, name: str, units: int) -> Any:
        return self.keras.layers.Dense(
            units,
            kernel_initializer=self.keras.initializers.TruncatedNormal(stddev=self.init_stddev),
            dtype=self.dtype_policy,
            name=name,
        )

    def _make_norm(self) -> Any:
        # In the variables' precision, as the norms of the blocks are.
        told = {"epsilon": _NORM_EPSILON, "dtype": self.variable_dtype, "name": "norm"}
        if self.norm == "layer":
            return self.keras.layers.LayerNormalization(**told)
        if self.norm == "batch":
            return self.keras.layers.BatchNormalization(momentum=_BATCH_MOMENTUM, **told)
        return None

    def _build_child(self, layer: Any, input_shape: tuple[int | None, ...]) -> None:
        layer.build(input_shape)

    def _zeros(self, shape: tuple[int, ...]) -> Any:
        raise NotImplementedError

    def _cast(self, tensor: Any, dtype: Any) -> Any:
        raise NotImplementedError

    def _mean(self, tensor: Any, axes: tuple[int, ...]) -> Any:
        """Returns the mean over some axes, which stay, of length 1."""
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
