"""The objective whose task is to classify texts, or to put values on them."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tf_keras

from keras_adapters.atomic import atomic_folder
from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.fit.step import AccumulatingModel
from train.objectives.model import POOLINGS, build_classifier
from train.objectives.objective import Predict
from train.objectives.text.export import export_text_model
from train.objectives.text.metrics import evaluate
from train.objectives.text.predictions import FOLDER, write_predictions, write_zip
from train.objectives.text.source import TextSource
from train.tasks.data import TaskData
from train.tasks.forms import Regression
from train.tasks.task import Task


class TextObjective:
    """A classification of, or a regression on, one text or a pair of texts; an `Objective`.

    Args:
      task: the row of the task table.
      data: its examples.
      preprocess: makes the encoder's inputs.
      pooling: the one vector per text that the head reads, see `build_classifier`.
      head_dropout: probability of dropping a feature of it, in training.

    Raises:
      ValueError: the pooling is not one of `POOLINGS`.
    """

    loss_weights = None

    def __init__(
        self,
        task: Task,
        data: TaskData,
        preprocess: BertPreprocessor,
        *,
        pooling: str = "pooler",
        head_dropout: float = 0.1,
    ) -> None:
        if pooling not in POOLINGS:
            raise ValueError(
                f"--pooling must be one of {', '.join(POOLINGS)}. Received: {pooling!r}"
            )
        self._task = task
        self._data = data
        self._preprocess = preprocess
        self._pooling = pooling
        self._head_dropout = head_dropout
        self.train = TextSource(data.train, preprocess)
        if isinstance(task.form, Regression):
            self.loss = tf_keras.losses.MeanSquaredError()
        else:
            self.loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._labelled = data.labelled()
        self.sources = {
            name: TextSource(split, preprocess) for name, split in self._labelled.items()
        }
        self.splits = tuple(self._labelled)

    def describe(self) -> str:
        """Returns the classes and the sizes of the splits, for a person."""
        kind = f"{len(self._data.label_names)} classes" if self._data.label_names else "values"
        sizes = [f"{size} {name}" for name, size in self.sizes().items() if size]
        return f"{kind}; examples: {', '.join(sizes)}"

    def sizes(self) -> dict[str, int]:
        """Returns the number of examples of each split."""
        splits = {name: len(split) for name, split in self._labelled.items()}
        return {"train": len(self.train), "test": 0} | splits

    def metadata(self) -> dict[str, Any]:
        """Returns what an adapter's description says of the task."""
        form = self._task.form
        kind = "regression" if isinstance(form, Regression) else "classification"
        return {
            "form": {"kind": kind, "columns": len(self._data.train.columns)},
            "labels": list(self._data.label_names),
        }

    @property
    def output_range(self) -> int | None:
        """How many positions the encoder's last block must compute; `None` is all."""
        return 1 if self._pooling == "pooler" else None  # The pooler reads the first alone.

    def build(self, encoder: tf_keras.layers.Layer, method: Method) -> AccumulatingModel:
        """Builds the model, to logits `<float32>[batch, classes]` or values `[batch, 1]`."""
        return build_classifier(
            encoder,
            max(1, len(self._data.label_names)),
            method,
            pooling=self._pooling,
            dropout=self._head_dropout,
        )

    def evaluate(self, predict: Predict, splits: Iterable[str]) -> dict[str, dict[str, float]]:
        """Returns the metrics of each of the named splits, see `train.objectives.text.metrics`."""
        metrics = {}
        for name in splits:
            outputs = predict(self.sources[name])
            metrics[name] = evaluate(self._task.metrics, self._labelled[name].labels, outputs)
        return metrics

    def predict_test(self, predict: Predict) -> dict[str, np.ndarray]:
        """Returns the outputs for each split that is published without labels."""
        return {
            name: predict(TextSource(split, self._preprocess))
            for name, split in self._data.unlabelled.items()
        }

    def write_predictions(
        self, run_folder: str | os.PathLike, outputs: Mapping[str, np.ndarray]
    ) -> None:
        """Writes what `predict_test` returned, one file per split, and their zip."""
        names, files = self._data.label_names, {}
        with atomic_folder(pathlib.Path(run_folder, FOLDER)) as folder:
            for name, values in outputs.items():
                split = self._data.unlabelled[name]
                files[name] = write_predictions(folder, name, split, names, values)
            write_zip(pathlib.Path(run_folder, "submission.zip"), files)

    def export(self, folder: str | os.PathLike, model: tf_keras.Model) -> None:
        """Writes the SavedModel that takes raw text."""
        columns = len(self._data.train.columns)
        export_text_model(folder, model, self._preprocess, self._data.label_names, columns)
