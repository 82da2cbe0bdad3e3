"""Many tasks on one pretrained base: each row of a batch names its task.

The adapters, LayerNorms and heads of all tasks are stacked beside the base; a batch gathers
those of its rows and is computed in one pass, whatever tasks are in it and in what order.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.adapter_file import AdapterFile, read_adapter
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.checks import whole_number
from keras_adapters.methods.method import Method
from keras_adapters.model_garden.binding import build, check_not_compiled
from keras_adapters.model_garden.hosts.table import host_of
from keras_adapters.model_garden.insertion import insert
from keras_adapters.model_garden.task_layers import (
    NO_TASK,
    ROW_NORMS,
    Rows,
    StackedHead,
    StackedNorm,
    make_stacked,
)
from keras_adapters.model_garden.task_room import Room
from keras_adapters.original import base_of, is_adapted
from keras_adapters.planning import check_method, plan
from keras_adapters.same_base import check_base
from keras_adapters.variables import encoder_parts

_TASK = "task"
_UNKNOWN = -1


class MultiTaskModel(tf_keras.Model):
    """Answers for many tasks at once, on one pretrained encoder.

    Tasks are adapter files, as `save_adapter` writes them, of the methods that leave the base
    as it is but for its LayerNorms: `adapters`, `layer_norm` and `feature_based`. The room for
    them is allotted here, so that to add, replace or drop one changes the values of variables
    and nothing else: what was traced goes on, and answers for the new task at once. A batch
    that another thread computes meanwhile finds a task as it was or as it is to be.

    Each row is computed as by the model that its task was trained in, in that precision. The
    model does not train.

    Args:
      encoder: a plain pretrained encoder of one of the classes in `hosts.table.HOSTS`, whose
        outputs are a dictionary. It belongs to the model from now on, and cannot be adapted any
        more; called by itself it is the base that it was.
      max_tasks: how many tasks there can be at a time.
      max_outputs: how many outputs a task can have: classes, or 1 of a regression.
      insertion: the most that a task can insert: the largest `size`, the `places` and the
        `layers` of all, and their one `activation`, `form` and `scale`; adapters with a `norm`,
        more `hidden_layers` or a `gate` have no room. `None` leaves room for no adapters. What
        concerns training, such as `dropout`, does not count.

    Call arguments:
      inputs: the encoder's inputs, and `task`, `<string>[batch]`: the name of each row's task;
        the empty name asks for the base without an adapter.

    Returns:
      `logits`: `<float32>[batch, max_outputs]`; those that are not the row's task's, all in a
        row of the base, are the lowest float32, of which a softmax makes 0.
      `pooled`: `<float32>[batch, width]`, what the row's head reads: the pooler's output, or
        the mean of the last block's output over the tokens. Of the base it is the mean, if
        the encoder computes all positions.

    Raises:
      ValueError: the encoder is no plain one, does not fit the insertion, or an argument is
        out of its range; at a call, an input is missing, or a name is no task's.
      tf.errors.InvalidArgumentError: a name is no task's, in a `tf.function` or `predict`.

    Example:
    >>> model = MultiTaskModel(load_encoder(path), max_tasks=64, max_outputs=20)
    >>> model.add("topics", "runs/a/adapter")
    >>> model.add("stars", "runs/b/adapter")
    >>> model({**inputs, "task": tf.constant(["stars", "topics", "stars"])})["logits"]

    Reference:
      Houlsby et al. 2019, section 1: tasks that arrive in a stream share one base.
    """

    def __init__(
        self,
        encoder: tf_keras.layers.Layer,
        max_tasks: int = 64,
        max_outputs: int = 20,
        insertion: AdapterConfig | None = AdapterConfig(),  # noqa: B008  It cannot change.
        name: str = "multi_task",
    ) -> None:
        max_tasks = whole_number("max_tasks", max_tasks, 1)
        max_outputs = whole_number("max_outputs", max_outputs, 1)
        widths = _check_encoder(encoder, insertion)
        super().__init__(name=name, trainable=False)
        self.max_tasks, self.max_outputs = max_tasks, max_outputs
        base, rows = base_of(encoder), Rows()
        # Beside the tasks': one that is no task's, and one to write to while others answer.
        slots = max_tasks + 2
        stacked = _stack(encoder, insertion, rows, slots)
        encoder.trainable = False
        self.encoder = encoder
        self.mean = tf_keras.layers.GlobalAveragePooling1D(name="mean", dtype="float32")
        self.head = stacked["head"] = StackedHead(max_outputs, slots, name="head")
        self.head.build([None, next(iter(widths.values()))])
        self.norms = [layer for layer in stacked.values() if isinstance(layer, StackedNorm)]
        self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int32, _UNKNOWN)
        self.table.insert(tf.constant([""]), tf.constant([NO_TASK]))
        stacks = {
            f"{prefix}/{leaf}": stack
            for prefix, layer in stacked.items()
            for leaf, stack in layer.stacks.items()
        }
        self._keep_untracked(
            insertion=insertion,
            _poolings=tuple(widths),
            _base=base,
            _rows=rows,
            _room=Room(encoder, insertion, stacks, tuple(widths)),
            _lock=threading.Lock(),
        )
        self.built = True

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tasks, in alphabetical order."""
        return tuple(sorted(name for name in self._slots() if name))

    @property
    def bytes_per_task(self) -> int:
        """What one task takes in memory: its share of the stacks."""
        rows = [stack.variable[0] for stack in self._room.stacks.values()]
        return sum(row.shape.num_elements() * row.dtype.size for row in rows)

    def add(
        self, name: str, adapter: AdapterFile | str | os.PathLike, pooling: str | None = None
    ) -> None:
        """Adds a task.

        Args:
          name: what rows call it.
          adapter: an adapter file, or its path. Its head, if it has one, is one dense layer
            that reads the pooled output.
          pooling: what that output is, `pooler` or `mean`; by default what the file's metadata
            says.

        Raises:
          ValueError: there is a task of this name, the name is none, or the model is full.
          AdapterFileError: the file is damaged, of another base or method, or has no room here;
            all that does not fit is in one error.
          OSError: it cannot be read.
        """
        with self._lock:
            slots = self._slots()
            if not isinstance(name, str) or not name:
                raise ValueError(f"`name` must be a text that is not empty. Received: {name!r}")
            if name in slots:
                raise ValueError(f"`name` must be new; `replace` replaces. Received: {name!r}")
            if len(slots) > self.max_tasks:
                raise ValueError(
                    f"the model has room for {self.max_tasks} tasks, and holds as many. Drop one, "
                    f"or make a model with more `max_tasks`. Received: {name!r}"
                )
            self._put(name, adapter, pooling, slots)

    def replace(
        self, name: str, adapter: AdapterFile | str | os.PathLike, pooling: str | None = None
    ) -> None:
        """Puts another adapter in the place of a task's; arguments and errors are `add`'s.

        Raises:
          ValueError: there is no task of this name.
        """
        with self._lock:
            slots = self._slots()
            _check_known(name, slots)
            self._put(name, adapter, pooling, slots)

    def drop(self, name: str) -> None:
        """Takes a task out: its name is unknown from now on, and its room free.

        Raises:
          ValueError: there is no task of this name.
        """
        with self._lock:
            _check_known(name, self._slots())
            self.table.remove(tf.constant([name]))

    def slots_of(self, names: tf.Tensor) -> tf.Tensor:
        """Returns where the weights of tasks lie, `<int32>[batch]`.

        Args:
          names: `<string>[batch]`; the empty name is the base's.

        Raises:
          ValueError: a name is no task's.
          tf.errors.InvalidArgumentError: so it is in a graph.
        """
        slots = tf.ensure_shape(self.table.lookup(names), names.shape)
        unknown = tf.boolean_mask(names, tf.equal(slots, _UNKNOWN))
        # A gather beyond its range gives zeros on some devices, and no error.
        return _require(
            tf.equal(tf.size(unknown), 0), "`task` must name tasks of this model:", unknown, slots
        )

    def encode(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """Returns what the encoder returns, each row's as its task's adapters make it.

        Args:
          inputs: as a call's.

        Returns:
          `sequence_output`, `<float>[batch, seq, width]`, and whatever else the encoder gives.
        """
        tokens, slots = self._split(inputs)
        with self._rows.of(slots):
            return self.encoder(tokens)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None) -> dict[str, Any]:
        """Returns `logits` and `pooled`: see the class."""
        if training:
            raise ValueError("a MultiTaskModel does not train. Received: training=True")
        tokens, slots = self._split(inputs)
        with self._rows.of(slots):
            outputs = self.encoder(tokens)
        pooled = {}
        if "pooler" in self._poolings:
            pooled["pooler"] = tf.cast(outputs["pooled_output"], tf.float32)
        if "mean" in self._poolings:
            pooled["mean"] = self.mean(outputs["sequence_output"], mask=tokens["input_mask"])
        read, logits = self.head(pooled, slots=slots)
        return {"logits": logits, "pooled": read}

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuses: Keras would save each layer by itself, where no row has a task.

        Raises:
          ValueError: always.
        """
        del args, kwargs
        raise ValueError(
            "a MultiTaskModel cannot be saved as a Keras model. Keep its tasks' adapter files; "
            "make a SavedModel with `model.export(path)`, or with `python -m train.bundle`"
        )

    def _split(self, inputs: Mapping[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Returns the encoder's inputs, and each row's slot."""
        held = self.encoder.inputs
        wanted = [*held] if isinstance(held, dict) else self.encoder.input_names
        if not isinstance(inputs, Mapping) or not {*wanted, _TASK} <= set(inputs):
            had = sorted(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise ValueError(
                f"`inputs` must be a dictionary of {sorted([*wanted, _TASK])}. Received: {had}"
            )
        names = tf.reshape(tf.convert_to_tensor(inputs[_TASK]), [-1])
        rows = tf.shape(inputs["input_word_ids"])[0]
        same = tf.equal(tf.size(names), rows)
        names = _require(same, "`task` must name one task a row:", names, names)
        return {name: inputs[name] for name in wanted}, self.slots_of(names)

    def _slots(self) -> dict[str, int]:
        names, slots = self.table.export()
        pairs = zip(names.numpy(), slots.numpy(), strict=True)
        return {name.decode(): int(slot) for name, slot in pairs}

    def _put(
        self,
        name: str,
        adapter: AdapterFile | str | os.PathLike,
        pooling: str | None,
        slots: Mapping[str, int],
    ) -> None:
        """Writes a task's weights where no task's are, then lets its name mean them."""
        if not isinstance(adapter, AdapterFile):
            adapter = read_adapter(adapter)
        check_base(adapter, self.encoder, self._base)
        values = self._room.fitted(adapter, pooling)
        slot = min(set(range(self.max_tasks + 2)) - set(slots.values()))
        for stable, stack in self._room.stacks.items():
            stack.write(slot, values.get(stable))
        self.table.insert(tf.constant([name]), tf.constant([slot]))

    def _keep_untracked(self, **attributes: Any) -> None:
        """Sets attributes past Keras, which would track what is inside of them."""
        for name, value in attributes.items():
            object.__setattr__(self, name, value)


def _check_encoder(
    encoder: tf_keras.layers.Layer, insertion: AdapterConfig | None
) -> dict[str, int]:
    """Returns the width of what heads can read of an encoder; raises unless it can be a base."""
    host = host_of(encoder)
    if is_adapted(encoder):
        raise ValueError(
            f"`encoder` must be the plain pretrained one. Received: {encoder.name!r}, to which the "
            f"method {encoder.method.name!r} was applied. `remove_adapter` may take it back"
        )
    check_method(encoder, Method(insertion, trains="nothing"))
    check_not_compiled(encoder)
    build(encoder)
    unknown = {type(norm).__name__ for norm in host.norms(encoder) if type(norm) not in ROW_NORMS}
    if unknown:
        raise ValueError(
            f"`encoder` must have LayerNorms of {[cls.__name__ for cls in ROW_NORMS]} and belong "
            f"to no other MultiTaskModel. Received: {encoder.name!r}, with {sorted(unknown)}"
        )
    outputs = encoder(encoder.inputs)
    if not isinstance(outputs, dict) or "sequence_output" not in outputs:
        raise ValueError(
            "`encoder` must return a dictionary with `sequence_output`. "
            f"Received: {encoder.name!r}, which returns {type(outputs).__name__}"
        )
    widths = {}
    if outputs.get("pooled_output") is not None:
        widths["pooler"] = outputs["pooled_output"].shape[-1]
    # Otherwise the states are not those of the inputs' tokens.
    if host.keeps_positions and not encoder.get_config().get("output_range"):
        widths["mean"] = outputs["sequence_output"].shape[-1]
    if len(set(widths.values())) != 1:
        raise ValueError(f"`encoder` must have outputs of one width. Received: {widths}")
    return widths


def _stack(
    encoder: tf_keras.layers.Layer, insertion: AdapterConfig | None, rows: Rows, slots: int
) -> dict[str, tf_keras.layers.Layer]:
    """Puts stacked layers into an encoder; returns them by the prefix of their weights' names.

    All are made before the first is put: for want of memory none is.
    """
    host = host_of(encoder)
    make = functools.partial(make_stacked, rows=rows, slots=slots)
    planned = plan(encoder, insertion, make) if insertion is not None else []
    norms = host.norms(encoder)
    parts = [part for part in encoder_parts(encoder) if part[1] in norms]
    stacked = {
        prefix: StackedNorm(norm, rows, slots, name=f"norm_{index}")
        for index, (prefix, norm) in enumerate(parts)
    }
    for prefix, norm in parts:
        stacked[prefix].serve(norm)
    insert(planned)
    return stacked | {f"layer_{p.index}/{p.site.name}/adapter": p.layer for p in planned}


def _require(condition: tf.Tensor, rule: str, received: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns a value if a condition holds; otherwise it is an error, at once or in the graph."""
    if tf.executing_eagerly():
        if not condition:
            shown = [name.decode("utf-8", "replace") for name in received.numpy()[:3]]
            raise ValueError(f"{rule} {', '.join(map(repr, shown))}")
        return value
    check = tf.debugging.Assert(condition, [rule, received], summarize=3)
    with tf.control_dependencies([check]):
        return tf.identity(value)


def _check_known(name: str, slots: Mapping[str, int]) -> None:
    if not isinstance(name, str) or not name or name not in slots:
        names = sorted(known for known in slots if known)
        raise ValueError(
            f"`name` must be a task of this model: {', '.join(names[:8]) or 'it has none yet'}"
            f"{', ...' if len(names) > 8 else ''}. Received: {name!r}"
        )
