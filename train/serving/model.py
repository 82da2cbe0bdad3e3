"""A SavedModel, loaded: from columns of texts to arrays."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  The model's graph uses its ops.

from train.serving.signatures import DEFAULT, TASK, read_form, read_signatures

_TASKS = "tasks"


class InputError(ValueError):
    """The model refuses what it was given; it may take something else."""


class LoadedModel:
    """The signatures of a SavedModel.

    Args:
      folder: the SavedModel's.

    Raises:
      OSError: the folder holds no SavedModel.
      ValueError: it cannot be loaded, or has no signature `serving_default`.

    Attributes:
      messages: the `SignatureDef` messages by their names.
      tasks: of a model of many tasks, their names.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.messages = read_signatures(folder)
        try:
            # The signatures alone do not keep the model's variables.
            self._model = tf.saved_model.load(os.fspath(folder))
            self._signatures = {
                name: self._model.signatures[name]
                for name in self.messages
                if name in self._model.signatures
            }
        except Exception as error:  # Of any kind, where a file is damaged.
            raise ValueError(
                f"--saved_model={folder} cannot be loaded: {first_line(error)}"
            ) from error
        self.tasks: tuple[str, ...] = ()
        if _TASKS in self._signatures and TASK in self.messages[DEFAULT].inputs:
            names = self.run(_TASKS, {})[TASK]
            self.tasks = tuple(name.decode("utf-8", "replace") for name in names.tolist())

    def run(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes a signature.

        Args:
          signature: its name.
          inputs: arrays, or lists of texts or of bytes, by the names of its inputs. There may
            be no rows.

        Returns:
          Arrays by the names of its outputs.

        Raises:
          InputError: the model refuses these inputs.
          ValueError: it cannot compute at all.
        """
        types = {name: info.dtype for name, info in self.messages[signature].inputs.items()}
        try:
            tensors = {
                name: tf.constant(value, tf.as_dtype(types[name])) for name, value in inputs.items()
            }
            outputs = self._signatures[signature](**tensors)
            return {name: value.numpy() for name, value in outputs.items()}
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            raise InputError(f"the model fails: {first_line(error)}") from error
        except tf.errors.OpError as error:
            raise ValueError(f"the model fails: {first_line(error)}") from error


class TextModel(LoadedModel):
    """A SavedModel of this project, of any kind of task or of many.

    Args:
      folder: the SavedModel's.

    Raises:
      OSError: the folder holds no SavedModel.
      ValueError: it cannot be loaded, or is one of something else.

    Attributes:
      form: what it takes and gives.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.form = read_form(folder)
        super().__init__(folder)

    def answer(self, columns: Sequence[Sequence[str | bytes]]) -> dict[str, np.ndarray]:
        """Computes `serving_default`; returns and raises as `run` does.

        Args:
          columns: texts, in the order of `form.columns`.
        """
        return self.run(DEFAULT, dict(zip(self.form.columns, columns, strict=True)))


def limit_threads(count: int) -> None:
    """Lets TensorFlow compute on so many threads; to be called before it computes.

    Args:
      count: of threads within one operation; several operations run on as many.
    """
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def first_line(error: Exception) -> str:
    """Returns what an error says, in a line."""
    text = re.sub(r"\{\{.*?\}\} *", "", str(getattr(error, "message", error)))  # Nodes.
    lines = [line.strip() for line in text.splitlines()] or [type(error).__name__]
    if lines[0].startswith("Graph execution error"):  # The reason stands above the node's name.
        lines = lines[: next((i for i, line in enumerate(lines) if line.startswith("[[")), 1)]
        return lines[-1]
    return lines[0]
