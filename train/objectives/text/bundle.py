"""One SavedModel that answers raw texts for many tasks."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_adapters.multi_task import MultiTaskModel
from keras_adapters.preprocessor import BertPreprocessor
from train.objectives.saved_model import Outputs, of_one_batch, write_signatures
from train.objectives.trimming import trim, trims

_INPUTS = ("text", "text_pair", "task")


@dataclasses.dataclass(frozen=True)
class BundledTask:
    """What a bundle must know of a task beside its weights.

    Args:
      name: what requests call it.
      labels: names of its classes; none of a regression.
      columns: texts per example, 1 or 2.
      seq_length: tokens per example, special tokens included.
    """

    name: str
    labels: tuple[str, ...]
    columns: int
    seq_length: int


def export_bundle(
    folder: str | os.PathLike,
    model: MultiTaskModel,
    vocab_file: pathlib.Path,
    lower_case: bool,
    tasks: Sequence[BundledTask],
) -> None:
    """Writes a model of many tasks with its tokeniser and all labels.

    The signature `serving_default` takes `text`, `text_pair` (empty of a task with one text)
    and `task`, `<string>[batch]` each, in any mixture. It returns `label`, `<string>[batch]`,
    the likeliest; `probabilities`, `<float32>[batch, classes]`, as many as the task with the
    most has, and 0 beyond a task's own; `labels`, `<string>[batch, classes]`, the classes in
    that order, and empty beyond; and `value`, `<float32>[batch]`. A regression has a value, no
    label and no probabilities; the value of other tasks is NaN. A name that is no task's, and
    a second text for a task of one, is an error. The signature `tasks` takes nothing and returns
    `task`, `<string>[tasks]`, their names.

    Args:
      folder: where; a folder that stands there is replaced, whole.
      model: holds the tasks under their names.
      vocab_file: the base's vocabulary.
      lower_case: whether it is uncased.
      tasks: what the model holds.
    """
    # Where the model keeps a task, this keeps what it knows of it.
    slots = model.slots_of(tf.constant([task.name for task in tasks])).numpy()
    size = 1 + max(slots)
    most = max(1, *(len(task.labels) for task in tasks))
    labels = np.full((size, most), b"", object)
    columns, classes = np.zeros(size, np.int32), np.zeros(size, bool)
    for slot, task in zip(slots, tasks, strict=True):
        labels[slot, : len(task.labels)] = [label.encode() for label in task.labels]
        columns[slot] = task.columns
        classes[slot] = bool(task.labels)
    columns, classes = tf.constant(columns), tf.constant(classes)
    labels = tf.constant(labels, tf.string)
    tokenise = _Tokeniser(vocab_file, lower_case, dict(zip(slots, tasks, strict=True)))
    cut = trim if trims(model) else dict

    def serving_default(*texts: tf.Tensor) -> Outputs:
        text, text_pair, task = of_one_batch(_INPUTS, texts)
        slot = _known(model.slots_of(task), task)
        text_pair = _fitting(text_pair, tf.gather(columns, slot), task)
        inputs = cut(tokenise(text, text_pair, slot))
        logits = model({**inputs, "task": task})["logits"]
        is_class = tf.gather(classes, slot)
        logits, names = logits[:, :most], tf.gather(labels, slot)
        likeliest = tf.argmax(logits, axis=-1, output_type=tf.int32)
        return {
            "label": tf.gather(names, likeliest, batch_dims=1),
            "probabilities": tf.where(is_class[:, tf.newaxis], tf.nn.softmax(logits), 0.0),
            "labels": names,
            "value": tf.where(is_class, math.nan, logits[:, 0]),
        }

    def list_tasks() -> Outputs:
        return {"task": tf.constant([task.name for task in tasks])}

    signatures = {
        "serving_default": (
            serving_default,
            [tf.TensorSpec([None], tf.string, name=name) for name in _INPUTS],
        ),
        "tasks": (list_tasks, []),
    }
    write_signatures(folder, model, signatures, tables=[model.table])


class _Tokeniser:
    """Makes the encoder's inputs of texts, of each as by its own task's preprocessor.

    Args:
      vocab_file: the vocabulary.
      lower_case: whether it is uncased.
      tasks: the tasks by their slots.
    """

    def __init__(
        self, vocab_file: pathlib.Path, lower_case: bool, tasks: dict[int, BundledTask]
    ) -> None:
        # Texts are packed in each way that there is, for tasks have few.
        ways = sorted({(task.seq_length, task.columns) for task in tasks.values()})
        packers = {length: BertPreprocessor(vocab_file, lower_case, length) for length, _ in ways}
        way = np.full(1 + max(tasks), -1, np.int32)
        for slot, task in tasks.items():
            way[slot] = ways.index((task.seq_length, task.columns))
        self._way, self._ways, self._packers = tf.constant(way), ways, packers
        self._longest = ways[-1][0]

    def __call__(
        self, text: tf.Tensor, text_pair: tf.Tensor, slot: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns inputs `<int32>[batch, seq]` of texts `<string>[batch]`."""
        tokenize = self._packers[self._longest].tokenize
        segments = [tokenize(text)]
        if any(columns == 2 for _, columns in self._ways):
            segments.append(tokenize(text_pair))
        way = tf.gather(self._way, slot)[:, tf.newaxis]
        inputs: dict[str, tf.Tensor] = {}
        for index, (length, columns) in enumerate(self._ways):
            padding = [[0, 0], [0, self._longest - length]]
            for name, packed in self._packers[length].pack(segments[:columns]).items():
                packed = tf.pad(packed, padding)
                inputs[name] = tf.where(tf.equal(way, index), packed, inputs.get(name, packed))
        return inputs


def _known(slot: tf.Tensor, task: tf.Tensor) -> tf.Tensor:
    """Returns the slots; the empty name, which means the base to the model, is an error."""
    check = tf.debugging.Assert(
        tf.reduce_all(slot > 0), ["`task` must name tasks of this model, and is empty:", task]
    )
    with tf.control_dependencies([check]):
        return tf.identity(slot)


def _fitting(text_pair: tf.Tensor, columns: tf.Tensor, task: tf.Tensor) -> tf.Tensor:
    """Returns the second texts; one of a task that takes none is an error."""
    wrong = tf.logical_and(tf.equal(columns, 1), tf.strings.length(text_pair) > 0)
    check = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(wrong)),
        ["`text_pair` must be empty for tasks of one text:", tf.boolean_mask(task, wrong)],
    )
    with tf.control_dependencies([check]):
        return tf.identity(text_pair)
