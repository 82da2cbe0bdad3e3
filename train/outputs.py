"""Writes what a run leaves beside its results: the adapter, predictions, the SavedModel."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from keras_adapters.saving import save_adapter
from train.assembly import Assembly
from train.fit.interruptions import Interruptions


def write_adapter(
    built: Assembly, metrics: Mapping[str, Any], interruptions: Interruptions
) -> None:
    """Writes what was trained, alone, to the run's `adapter`.

    Args:
      built: the run's parts.
      metrics: of each split that was evaluated.
      interruptions: tells of signals.

    Raises:
      OSError: it cannot be written.
      Preempted: a signal came; what stood there before still does.
    """
    metadata = {**built.metadata(), "metrics": metrics}
    dtype = built.config.keep.adapter_dtype
    with _writing("adapter", built.folder.adapter, interruptions) as path:
        save_adapter(path, built.model, built.encoder, metadata, dtype)


def write_predictions(built: Assembly, predicted: Any, interruptions: Interruptions) -> None:
    """Writes what `Objective.predict_test` returned; raises as `write_adapter` does."""
    with _writing("predictions", built.folder.predictions, interruptions):
        built.objective.write_predictions(built.folder.path, predicted)


def export(built: Assembly, interruptions: Interruptions) -> None:
    """Writes the SavedModel that takes raw text; raises as `write_adapter` does."""
    with _writing("SavedModel", built.folder.saved_model, interruptions) as path:
        built.objective.export(path, built.model)


@contextlib.contextmanager
def _writing(what: str, path: pathlib.Path, interruptions: Interruptions) -> Iterator[pathlib.Path]:
    """Yields a path that is being written; errors of writing name it and say what is kept."""
    try:
        with interruptions.during(f"writing the {what}"):
            yield path
    except (OSError, tf.errors.OpError) as error:
        reason = re.sub(r"\{\{.*?\}\} *", "", str(error)).splitlines()[0]  # TensorFlow's node.
        raise OSError(
            f"{path} cannot be written: {reason}. What was trained is kept in the run's "
            "checkpoints: make room, or mend the folder, then run the same command to go on"
        ) from error
