"""What an experiment needs of extractive question answering, in one object."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from keras_adapters.atomic import write_text
from keras_adapters.config import AdapterConfig
from train.model import build_span_model
from train.spans.decode import DecodeSettings, Prediction, decode
from train.spans.evaluate import evaluate, evaluate_with_unanswerable
from train.spans.export import export_span_model
from train.spans.windows import WindowedQuestions, WindowSettings
from train.tasks.squad import SquadData
from train.text import BertPreprocessor

_OUTPUTS = ("start_logits", "end_logits")
Predict = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]


class SpanExtraction:
    """A task whose answers are spans of contexts.

    Args:
      data: the questions.
      preprocess: tokenises and packs, to the length of the windows.
      doc_stride, max_query_length: see `WindowSettings`.
      decoding: how answers are chosen.

    Raises:
      ValueError: as `WindowSettings` does.

    Attributes:
      loss, loss_weights, metrics: for the `compile` of what `build` returns: the mean of the
        cross-entropies of the answer's start and of its end (Devlin et al. 2019, 4.2).
    """

    def __init__(
        self,
        data: SquadData,
        preprocess: BertPreprocessor,
        *,
        doc_stride: int = WindowSettings.doc_stride,
        max_query_length: int = WindowSettings.max_query_length,
        decoding: DecodeSettings | None = None,
    ) -> None:
        self._data = data
        self._preprocess = preprocess
        self._settings = WindowSettings(preprocess.seq_length, doc_stride, max_query_length)
        self._decoding = decoding or DecodeSettings()
        self._train = WindowedQuestions(data.train, preprocess, self._settings)
        self._dev = WindowedQuestions(data.dev, preprocess, self._settings)
        self._labels = tf.constant(self._train.labels())
        self.loss = {
            name: tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            for name in _OUTPUTS
        }
        self.loss_weights = dict.fromkeys(_OUTPUTS, 0.5)
        self.metrics = dict.fromkeys(_OUTPUTS, "sparse_categorical_accuracy")

    @property
    def train_size(self) -> int:
        """The number of windows that are trained on."""
        return len(self._train)

    def describe(self) -> str:
        """Says in a line what there is to train on and to evaluate."""
        splits = {"train": self._train, "dev": self._dev}
        return ", ".join(
            f"{len(windowed.split):,} {name} questions in {len(windowed):,} windows"
            for name, windowed in splits.items()
        )

    def gather(self, indices: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Returns training windows and their labels; for `tf.data.Dataset.map`.

        Args:
          indices: of training windows, `<int64>[batch]`.

        Returns:
          `input_word_ids`, `input_mask` and `input_type_ids`, each `<int32>[batch, seq]`;
          and the positions where the answer starts and ends, `start_logits` and
          `end_logits`, `<int32>[batch]` each: 0, that of [CLS], if it does not.
        """
        labels = tf.gather(self._labels, indices)
        return self._train.inputs(indices), {
            name: labels[:, column] for column, name in enumerate(_OUTPUTS)
        }

    def build(
        self,
        encoder: tf_keras.layers.Layer,
        *,
        method: str,
        adapter: AdapterConfig | None,
        top_layers: int | None,
    ) -> tf_keras.Model:
        """Builds the model; see `build_span_model`."""
        return build_span_model(encoder, method=method, adapter=adapter, top_layers=top_layers)

    def answer(self, predict: Predict) -> list[Prediction]:
        """Answers the dev questions.

        Args:
          predict: maps the encoder's inputs for all windows to `start_logits` and
            `end_logits`, `<float32>[windows, seq]`, as the model's `predict` does.
        """
        inputs = self._dev.inputs(tf.range(len(self._dev), dtype=tf.int64))
        logits = predict({name: tensor.numpy() for name, tensor in inputs.items()})
        return decode(self._dev, *(logits[name] for name in _OUTPUTS), self._decoding)

    def evaluate(self, predictions: Sequence[Prediction]) -> dict[str, dict[str, float]]:
        """Returns `{"dev": ...}`, see `train.spans.evaluate`, for what `answer` returned."""
        if self._data.has_unanswerable:
            threshold = self._decoding.null_threshold
            return {"dev": evaluate_with_unanswerable(self._dev.split, predictions, threshold)}
        return {"dev": evaluate(self._dev.split, predictions)}

    def write_predictions(
        self, folder: str | os.PathLike, predictions: Sequence[Prediction]
    ) -> None:
        """Writes what `answer` returned, as the scripts of SQuAD read it and its board takes it.

        `predictions.json`: the answer to each question's id. `nbest_predictions.json`: its
        best spans with their probabilities. For data with unanswerable questions also
        `null_odds.json`: how much likelier no answer is than the best span.

        Args:
          folder: where; files that stand there are replaced.
          predictions: one per dev question.
        """
        threshold = self._decoding.null_threshold if self._data.has_unanswerable else None
        files = {
            "predictions.json": {p.id: p.answer(threshold) for p in predictions},
            "nbest_predictions.json": {p.id: _with_probabilities(p) for p in predictions},
        }
        if self._data.has_unanswerable:
            files["null_odds.json"] = {p.id: p.null_difference for p in predictions}
        for name, content in files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False)
            write_text(pathlib.Path(folder, name), text + "\n")

    def export(self, folder: str | os.PathLike, model: tf_keras.Model) -> None:
        """Writes a SavedModel that answers raw questions; see `export_span_model`."""
        export_span_model(
            folder,
            model,
            self._preprocess,
            self._settings,
            self._decoding,
            self._data.has_unanswerable,
        )


def _with_probabilities(prediction: Prediction) -> list[dict[str, object]]:
    """Returns a question's best spans; their probabilities are a softmax over them alone."""
    scores = np.array([span.score for span in prediction.spans])
    probabilities = tf.nn.softmax(scores).numpy().tolist()
    return [
        {**dataclasses.asdict(span), "probability": probability}
        for span, probability in zip(prediction.spans, probabilities, strict=True)
    ]
