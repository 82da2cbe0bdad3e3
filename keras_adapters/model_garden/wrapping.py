"""What a block's own layers become, so that inserted layers are computed beside them.

A block's code is not changed: it calls what it always called. A dropout at a sub-layer's end is
replaced by a layer that holds it; a layer with variables becomes one of a class derived from
its own, in place, so that variables and checkpoints stay as they are.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.wire import Wire


class TellsInput(tf_keras.layers.Layer):
    """A layer that puts its first argument on a wire; mixed into the layer's own class."""

    wire: Wire

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the layer returns."""
        # Here and not in `call`, which Keras may compute in a graph of its own.
        self.wire.put(next(iter((*args, *kwargs.values()))))
        return super().__call__(*args, **kwargs)


class TellsOutput(tf_keras.layers.Layer):
    """A layer that puts its output on a wire; mixed into the layer's own class."""

    wire: Wire

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the layer returns."""
        output = super().__call__(*args, **kwargs)
        self.wire.put(output)
        return output


class _TakesFromWire(tf_keras.layers.Layer):
    """A layer whose second argument comes from a wire, if it has one."""

    wire: Wire | None = None

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns what `call` does of the inputs and of what is on the wire."""
        if self.wire is not None:
            args = (self.wire.take(), *args)
        return super().__call__(inputs, *args, **kwargs)


class DropoutThenAdapter(_TakesFromWire):
    """A block's dropout followed by an inserted layer; stands where the dropout stood.

    Args:
      dropout: the block's own dropout layer.
      adapter: a built layer that keeps its inputs' shape.
      wire: brings what the adapter reads, if that is not the dropout's output.

    Call arguments:
      inputs: `<float>[batch, seq, hidden]`, a sub-layer's output.
      training: whether to apply dropout.

    Returns:
      `<float>[batch, seq, hidden]`.
    """

    def __init__(
        self,
        dropout: tf_keras.layers.Layer,
        adapter: tf_keras.layers.Layer,
        wire: Wire | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dropout = dropout
        self.adapter = adapter
        self.wire = wire

    def call(
        self, inputs: tf.Tensor, read: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Returns adapter(dropout(inputs)), or adapter(read, dropout(inputs))."""
        output = self.dropout(inputs, training=training)
        if read is None:
            return self.adapter(output, training=training)
        return self.adapter(read, output, training=training)


class ProjectionThenAdapter(_TakesFromWire):
    """A block's projection followed by an inserted layer; mixed into the projection's class.

    The inserted layer belongs to the block: to freeze the projection is not to freeze it.
    """

    adapter: tf_keras.layers.Layer

    def call(self, inputs: tf.Tensor, read: tf.Tensor | None = None) -> tf.Tensor:
        """Returns adapter(projection(inputs)), `<float>[batch, seq, width]`."""
        output = super().call(inputs)
        return self.adapter(output) if read is None else self.adapter(read, output)


class NormThenAdapter(tf_keras.layers.Layer):
    """A block's norm, whose output an inserted layer reads; mixed into the norm's class.

    What that layer changes is the norm's input, which is normalised again.
    """

    adapter: tf_keras.layers.Layer

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns norm(adapter(norm(inputs), inputs)), `<float>[batch, seq, width]`."""
        return super().call(self.adapter(super().call(inputs), inputs))


def become(layer: tf_keras.layers.Layer, mixin: type, **attributes: Any) -> None:
    """Makes a layer, in place, one of a class derived from the mixin and from its own.

    Args:
      layer: a layer of Keras.
      mixin: what goes before its class.
      **attributes: set past Keras, which would track them.
    """
    for name, value in attributes.items():
        object.__setattr__(layer, name, value)
    set_class(layer, _derived(mixin, type(layer)))


def become_again(layer: tf_keras.layers.Layer) -> None:
    """Undoes `become`; a layer that did not become anything stays as it is."""
    plain = getattr(type(layer), "plain_class", None)
    if plain is None:
        return
    for name in ("adapter", "wire"):
        if name in vars(layer):
            object.__delattr__(layer, name)
    set_class(layer, plain)


@functools.cache
def _derived(mixin: type, plain: type) -> type:
    text = f"{mixin.__doc__.partition(';')[0]}: a `{plain.__name__}`."
    members = {"plain_class": plain, "__doc__": text, "__module__": __name__}
    name = f"{mixin.__name__}{plain.__name__}"
    return types.new_class(name, (mixin, plain), {}, lambda body: body.update(members))


def set_class(layer: tf_keras.layers.Layer, cls: type) -> None:
    """Makes a layer one of another class, past Keras, which tracks what is set on it."""
    object.__setattr__(layer, "__class__", cls)
