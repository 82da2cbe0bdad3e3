"""Layers that hold the weights of many tasks, and take for each row of a batch its own task's.

The weights of all tasks lie in one stack, a task in each slot; a batch gathers those of its
rows and multiplies them as one batch. Slot 0 is no task's: it is the base as it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from official.nlp.modeling.layers import mobile_bert_layers

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.model_garden.layers import BottleneckAdapter
from keras_adapters.model_garden.wrapping import set_class

NO_TASK = 0
POOLINGS = ("pooler", "mean")


class Rows(threading.local):
    """Tells the layers inside of an encoder whose row each row of the batch is.

    An encoder passes its blocks nothing but the states, so this goes beside them: one
    for all of a model's layers, and in each thread its own.
    """

    slots: tf.Tensor | None = None

    @contextlib.contextmanager
    def of(self, slots: tf.Tensor) -> Iterator[None]:
        """While this lasts, the rows are those of the slots `<int32>[batch]`."""
        before, self.slots = self.slots, slots
        try:
            yield
        finally:
            self.slots = before


@dataclasses.dataclass(frozen=True)
class Stack:
    """One weight of all tasks.

    Args:
      variable: `<float>[slots, *shape]`.
      base: what a task without the weight has, and so slot 0, `<float32>[*shape]`.
      padded: the axes, without the slots', along which a task may have less: what it lacks
        there is 0.
    """

    variable: tf.Variable
    base: np.ndarray
    padded: tuple[int, ...] = ()

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Says whether a weight of this shape can be one of the stack."""
        room = self.base.shape
        return len(shape) == len(room) and all(
            size <= most if axis in self.padded else size == most
            for axis, (size, most) in enumerate(zip(shape, room, strict=True))
        )

    def write(self, slot: int, value: np.ndarray | None) -> None:
        """Writes one task's weight, or the base's for `None`, in place."""
        row = self.base
        if value is not None:
            row = np.zeros_like(row)
            row[tuple(map(slice, value.shape))] = value
        row = tf.cast(tf.constant(row), self.variable.dtype)
        self.variable.scatter_update(tf.IndexedSlices(row[tf.newaxis], [slot]))


class _Stacked(tf_keras.layers.Layer):
    """A layer of stacks; they are kept in the precision that it computes in."""

    def __init__(self, slots: int, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        self.slots = slots
        # Past Keras, which would track the values inside.
        object.__setattr__(self, "stacks", {})

    def add_stack(self, name: str, base: np.ndarray, padded: tuple[int, ...] = ()) -> None:
        """Makes a stack whose slots all hold the base's weight."""
        variable = self.add_weight(
            name,
            shape=(self.slots, *base.shape),
            dtype=self.compute_dtype,
            initializer=lambda shape, dtype: tf.broadcast_to(tf.cast(base, dtype), shape),
            trainable=False,
            experimental_autocast=False,
        )
        self.stacks[name] = Stack(variable, base, padded)

    def take(self, name: str, slots: tf.Tensor) -> tf.Tensor:
        """Returns each row's weight, `<float>[batch, *shape]`, of slots `<int32>[batch]`."""
        return tf.gather(self.stacks[name].variable, slots)


class StackedBottleneck(_Stacked):
    """The bottleneck adapters of many tasks at one place: see `BottleneckAdapter`.

    A bottleneck smaller than the room is padded with zeros, of which the up-projection
    makes nothing; a task without an adapter here has zeros alone, and changes nothing.

    Args:
      config: the room: its width is the largest bottleneck's; activation, form and scale are
        those of all.
      rows: tells whose the rows are; while it tells of none, the layer is not there.
      slots: the number of slots.

    Call arguments:
      inputs: `<float>[batch, seq, width]`.
      output: as `BottleneckAdapter`'s.

    Raises:
      ValueError: the settings are of a variant that cannot be stacked (`norm`, `hidden_layers`,
        `gate`); Keras has no such activation, or it is not computed unit by unit, or has no
        finite value of 0: padding would change the other units.
    """

    def __init__(self, config: AdapterConfig, rows: Rows, slots: int, **kwargs: Any) -> None:
        plain = AdapterConfig()
        for name in ("norm", "hidden_layers", "gate"):
            if getattr(config, name) != getattr(plain, name):
                raise ValueError(
                    f"`{name}` must be {getattr(plain, name)} for adapters of many tasks to be "
                    f"stacked. Received: {name}={getattr(config, name)!r}"
                )
        super().__init__(slots, **kwargs)
        self.config = config
        self._rows = rows
        self._activation = BottleneckAdapter(1, config.activation)._activation
        if isinstance(self._activation, tf_keras.layers.Layer) or not _pads(self._activation):
            raise ValueError(
                "`activation` must be a function of one unit at a time, finite where that is 0, "
                "for bottlenecks of several sizes to share it. "
                f"Received: activation={config.activation!r}"
            )

    @staticmethod
    def shapes(config: AdapterConfig, width: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each weight of one adapter, by its name in an adapter file."""
        size = config.width(width)
        scale = {"learned": {"scale": ()}, "per_channel": {"scale": (width,)}}
        return {
            "down/kernel": (width, size),
            "down/bias": (size,),
            "up/kernel": (size, width),
            "up/bias": (width,),
            **scale.get(config.scale, {}),
        }

    @staticmethod
    def misfits(config: AdapterConfig, room: AdapterConfig) -> list[str]:
        """Says in what an adapter's settings, its places aside, are not those of a room.

        Of sizes that are known to differ, or to be beyond the room, for some layers only, its
        weights' shapes tell.
        """
        problems = []
        if None not in (config.size, room.size):
            sizes = [max(np.atleast_1d(each.size)) for each in (config, room)]
            if sizes[0] > sizes[1]:
                problems.append(f"its size is {sizes[0]}, and the room's is {sizes[1]}")
        for name in ("activation", "form", "norm", "hidden_layers", "scale", "gate"):
            values = [getattr(each, name) for each in (config, room)]
            if values[0] != values[1]:
                problems.append(f"its {name} is {values[0]!r}, and the room's is {values[1]!r}")
        return problems

    def build(self, input_shape: Any) -> None:
        """Makes the stacks, for inputs of shape [batch, seq, width]."""
        padded = {"down/kernel": (1,), "down/bias": (0,), "up/kernel": (0,), "up/bias": ()}
        for name, shape in self.shapes(self.config, int(input_shape[-1])).items():
            self.add_stack(name, np.zeros(shape, np.float32), padded.get(name, ()))
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, output: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Returns what `Bottleneck.call` does, with each row's own weights."""
        del training  # Nothing here trains.
        output = inputs if output is None else output
        slots = self._rows.slots
        if slots is None:
            return output
        weights = {name: self.take(name, slots) for name in self.stacks}
        hidden = tf.matmul(inputs, weights["down/kernel"]) + weights["down/bias"][:, tf.newaxis]
        hidden = self._activation(hidden)
        change = tf.matmul(hidden, weights["up/kernel"]) + weights["up/bias"][:, tf.newaxis]
        if isinstance(self.config.scale, str):
            change *= tf.reshape(weights["scale"], [tf.shape(inputs)[0], 1, -1])
        elif self.config.scale != 1:
            change *= self.config.scale
        change = tf.cast(change, output.dtype)
        multiplies = self.config.form == "parallel_multiplicative"
        return output * (1 + change) if multiplies else output + change


def _pads(activation: Any) -> bool:
    """Says whether units that are 0 can be put beside others."""
    units = tf.constant([[0.5, -1.5, 0.0]])
    padded, alone = activation(units), activation(units[:, :2])
    return bool(tf.reduce_all(tf.math.is_finite(padded))) and bool(
        tf.reduce_all(tf.abs(padded[:, :2] - alone) < 1e-6)
    )


# The stacked layer of each kind of insertion.
STACKED: Mapping[type, type] = {AdapterConfig: StackedBottleneck}


def make_stacked(
    config: AdapterConfig, *, rows: Rows, slots: int, **kwargs: Any
) -> tf_keras.layers.Layer:
    """Returns a new stacked layer for insertions of up to these settings."""
    return STACKED[type(config)](config, rows, slots, **kwargs)


class StackedNorm(_Stacked):
    """Scale and shift of one of an encoder's LayerNorms for many tasks.

    The norm that it serves stays where it is, with its own formula and variables, and takes
    its weights from here while rows are told of.

    Args:
      norm: that norm, built, of one of the classes `ROW_NORMS`.
      rows: tells whose the rows are.
      slots: the number of slots.
    """

    def __init__(self, norm: tf_keras.layers.Layer, rows: Rows, slots: int, **kwargs: Any) -> None:
        super().__init__(slots, dtype=norm.dtype_policy, **kwargs)
        for variable in norm.weights:
            self.add_stack(variable.name.split("/")[-1].removesuffix(":0"), variable.numpy())
        self.built = True
        self._rows = rows

    def serve(self, norm: tf_keras.layers.Layer) -> None:
        """Lets the norm take its weights from here, by a swap of its class."""
        # Past Keras: the norm does not own this layer.
        object.__setattr__(norm, "of_rows", self)
        set_class(norm, ROW_NORMS[type(norm)])

    def weight(self, name: str) -> tf.Tensor | None:
        """Returns each row's weight, `<float>[batch, 1, width]`, if rows are told of."""
        slots = self._rows.slots
        if slots is None or name not in self.stacks:
            return None
        return self.take(name, slots)[:, tf.newaxis]


def _row_norm(cls: type, attributes: Mapping[str, str]) -> type:
    """Makes the class of a norm that takes its weights from `of_rows`.

    Args:
      cls: the norm's class.
      attributes: where that class keeps its weights, by the weights' names.
    """

    def attribute(held: str, name: str) -> property:
        def get(self: Any) -> Any:
            of_rows = self.of_rows.weight(name)
            return self.__dict__[held] if of_rows is None else of_rows

        return property(get)

    members = {held: attribute(held, name) for name, held in attributes.items()}
    members["__doc__"] = f"A `{cls.__name__}` whose scale and shift are those of the row's task."
    made = types.new_class(f"Row{cls.__name__}", (cls,), {}, lambda body: body.update(members))
    made.__module__ = __name__
    return made


ROW_NORMS = {
    tf_keras.layers.LayerNormalization: _row_norm(
        tf_keras.layers.LayerNormalization, {"gamma": "gamma", "beta": "beta"}
    ),
    mobile_bert_layers.NoNorm: _row_norm(
        mobile_bert_layers.NoNorm, {"gamma": "scale", "beta": "bias"}
    ),
}


class StackedHead(_Stacked):
    """The heads of many tasks: which vector each reads, and its one dense layer.

    Args:
      outputs: the most outputs that a task has.
      slots: the number of slots.

    Call arguments:
      pooled: what the heads can read, `<float32>[batch, width]` each, by the names `POOLINGS`.
      slots: `<int32>[batch]`.

    Returns:
      What each head reads, `<float32>[batch, width]`, and the logits, `<float32>[batch,
      outputs]`, of which those beyond a task's own are the lowest float32.
    """

    def __init__(self, outputs: int, slots: int, **kwargs: Any) -> None:
        super().__init__(slots, dtype="float32", **kwargs)
        self.outputs = outputs

    def build(self, input_shape: Any) -> None:
        """Makes the stacks, for vectors of shape [batch, width]."""
        width = int(input_shape[-1])
        self.add_stack("kernel", np.zeros((width, self.outputs), np.float32), (1,))
        self.add_stack("bias", np.zeros(self.outputs, np.float32), (0,))
        # How many outputs are the task's own, and the index of what it reads.
        self.add_stack("count", np.zeros((), np.float32))
        self.add_stack("pooling", np.full((), POOLINGS.index("mean"), np.float32))
        super().build(input_shape)

    def call(
        self, pooled: Mapping[str, tf.Tensor], slots: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what each row's head reads, and its logits."""
        pooling = self.take("pooling", slots)[:, tf.newaxis]
        (read, *_) = pooled.values()
        for name, vector in pooled.items():
            read = tf.where(tf.equal(pooling, POOLINGS.index(name)), vector, read)
        logits = tf.matmul(read[:, tf.newaxis], self.take("kernel", slots))[:, 0]
        logits += self.take("bias", slots)
        own = tf.range(self.outputs, dtype=tf.float32) < self.take("count", slots)[:, tf.newaxis]
        return read, tf.where(own, logits, tf.float32.min)
