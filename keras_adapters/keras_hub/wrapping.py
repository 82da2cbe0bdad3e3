"""What a block's own layers become, so that inserted layers are computed with them.

A block's code is not changed: it calls what it always called. A layer becomes one of a class
derived from its own, in place. That class has the name, the module and the registered name of
the layer's own, so that configs and weight files, which go by them, stay as they are.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import keras

from keras_adapters.wire import Wire


class ThenAdapter:
    """A layer at a sub-layer's end, followed by an inserted layer; mixed into its class."""

    adapter: keras.layers.Layer
    wire: Wire | None = None

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Returns adapter(output), or adapter(read, output) where a wire brings what it reads."""
        output = super().call(*args, **kwargs)
        read = () if self.wire is None else (self.wire.take(),)
        training = kwargs.get("training")
        told = {} if training is None else {"training": training}
        return self.adapter(*read, output, **told)


class NormThenAdapter:
    """A block's norm, whose output an inserted layer reads; mixed into the norm's class.

    What that layer changes is the norm's input, which is normalised again.
    """

    adapter: keras.layers.Layer

    def call(self, inputs: Any) -> Any:
        """Returns norm(adapter(norm(inputs), inputs))."""
        return super().call(self.adapter(super().call(inputs), inputs))


class TellsInput:
    """A layer that puts its first argument on a wire; mixed into the layer's own class."""

    wire: Wire

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the layer returns."""
        # Not in `call`, whose arguments are cast: who calls holds what he gives.
        self.wire.put(next(iter((*args, *kwargs.values()))))
        return super().__call__(*args, **kwargs)


class TellsOutput:
    """A layer that puts its output on a wire; mixed into the layer's own class."""

    wire: Wire

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the layer returns."""
        output = super().__call__(*args, **kwargs)
        self.wire.put(output)
        return output


def become(
    layer: keras.layers.Layer,
    mixin: type,
    adapter: keras.layers.Layer | None = None,
    wire: Wire | None = None,
) -> None:
    """Makes a layer, in place, one of a class derived from the mixin and from its own.

    Args:
      layer: a layer.
      mixin: what goes before its class.
      adapter: a built layer that is in this one from now on.
      wire: what the mixin puts on or takes from.
    """
    if adapter is not None:
        locked = layer._tracker.locked
        layer._tracker.unlock()
        layer.adapter = adapter
        if locked:
            layer._tracker.lock()
    if wire is not None:
        object.__setattr__(layer, "wire", wire)
    set_class(layer, derived(mixin, type(layer)))


def become_again(layer: keras.layers.Layer) -> None:
    """Undoes `become`; a layer that did not become anything stays as it is."""
    plain = getattr(type(layer), "plain_class", None)
    if plain is None:
        return
    set_class(layer, plain)
    if hasattr(layer, "adapter"):
        layer._tracker.untrack(layer.adapter)
        del layer.adapter
    if "wire" in vars(layer):
        object.__delattr__(layer, "wire")


@functools.cache
def derived(mixin: type, plain: type) -> type:
    """Returns the class derived from a mixin and a layer's class, which looks like the latter."""
    members = {
        "plain_class": plain,
        "__doc__": plain.__doc__,
        "__module__": plain.__module__,
        "__qualname__": plain.__qualname__,
    }
    made = types.new_class(plain.__name__, (mixin, plain), {}, lambda body: body.update(members))
    register_as(made, keras.saving.get_registered_name(plain), plain)
    return made


def register_as(made: type, name: str, readable: type) -> None:
    """Makes Keras write a class's name into files, and read another class of that name.

    Args:
      made: the class of the objects that are written.
      name: a registered name, `package>name`; one without a package needs no registering.
      readable: the class that stands for it where a file is read.
    """
    package, divider, name = name.rpartition(">")
    if divider:
        for cls in (made, readable):
            keras.saving.register_keras_serializable(package, name)(cls)


def set_class(layer: keras.layers.Layer, cls: type) -> None:
    """Makes a layer one of another class, past Keras, which tracks what is set on it."""
    object.__setattr__(layer, "__class__", cls)
