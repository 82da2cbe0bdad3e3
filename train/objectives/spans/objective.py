"""The objective whose task is to find the answer to a question in a text."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from keras_adapters.atomic import atomic_folder
from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.fit.input_pipeline import Source
from train.fit.step import AccumulatingModel
from train.objectives.model import build_span_model
from train.objectives.objective import Predict
from train.objectives.spans.decode import DecodeSettings, Prediction, decode
from train.objectives.spans.evaluate import evaluate, evaluate_with_unanswerable
from train.objectives.spans.export import export_span_model
from train.objectives.spans.windows import WindowedQuestions
from train.objectives.text.predictions import FOLDER
from train.tasks.forms import Spans
from train.tasks.squad import SquadData

_OUTPUTS = ("start_logits", "end_logits")


class SpanObjective:
    """A task whose answers are spans of contexts; an `Objective`.

    The labels of `train` are the positions where the answer starts and ends, `start_logits`
    and `end_logits`, `<int32>[batch]` each: 0, that of [CLS], where a window does not hold it.
    The loss is the mean of the cross-entropies of the two (Devlin et al. 2019, 4.2).

    Args:
      form: how contexts are cut.
      data: the questions.
      preprocess: tokenises and packs, to the length of the windows.
      head_dropout: probability of dropping a feature that the head reads, in training.
      decoding: how answers are chosen.

    Raises:
      ValueError: as `WindowedQuestions` does.
    """

    splits = ("dev",)

    def __init__(
        self,
        form: Spans,
        data: SquadData,
        preprocess: BertPreprocessor,
        *,
        head_dropout: float = 0.0,
        decoding: DecodeSettings | None = None,
    ) -> None:
        self._form = form
        self._data = data
        self._preprocess = preprocess
        self._head_dropout = head_dropout
        self._decoding = decoding or DecodeSettings()
        self._train = WindowedQuestions(data.train, preprocess, form)
        self._dev = WindowedQuestions(data.dev, preprocess, form)
        self.loss = {
            name: tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            for name in _OUTPUTS
        }
        self.loss_weights = dict.fromkeys(_OUTPUTS, 0.5)
        self.train = _source(self._train, self._train.labels())
        unlabelled = np.zeros([len(self._dev), len(_OUTPUTS)], np.int32)
        self.sources = {"dev": _source(self._dev, unlabelled)}

    def describe(self) -> str:
        """Says in a line what there is to train on and to evaluate."""
        splits = {"train": self._train, "dev": self._dev}
        return ", ".join(
            f"{len(windowed.split):,} {name} questions in {len(windowed):,} windows"
            for name, windowed in splits.items()
        )

    def sizes(self) -> dict[str, int]:
        """Returns the number of questions of each split."""
        return {"train": len(self._data.train), "dev": len(self._data.dev), "test": 0}

    def metadata(self) -> dict[str, Any]:
        """Returns what an adapter's description says of the task."""
        form = {
            "kind": "spans",
            "columns": self._form.columns,
            **dataclasses.asdict(self._form),
            "has_unanswerable": self._data.has_unanswerable,
        }
        return {"form": form, "labels": []}

    @property
    def output_range(self) -> None:
        """How many positions the encoder's last block must compute: all of them."""
        return None

    def build(self, encoder: tf_keras.layers.Layer, method: Method) -> AccumulatingModel:
        """Builds the model, to `start_logits` and `end_logits`, `<float32>[batch, seq]` each."""
        return build_span_model(encoder, method, dropout=self._head_dropout)

    def answer(self, predict: Predict) -> list[Prediction]:
        """Answers the dev questions.

        Args:
          predict: returns `start_logits` and `end_logits`, `<float32>[windows, seq]`, for a
            source of windows.
        """
        logits = predict(self.sources["dev"])
        return decode(self._dev, *(logits[name] for name in _OUTPUTS), self._decoding)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """Returns the metrics, see `train.objectives.spans.evaluate`, of what `answer` returned."""
        if self._data.has_unanswerable:
            threshold = self._decoding.null_threshold
            return evaluate_with_unanswerable(self._dev.split, predictions, threshold)
        return evaluate(self._dev.split, predictions)

    def evaluate(self, predict: Predict, splits: Iterable[str]) -> dict[str, dict[str, float]]:
        """Returns the metrics of each of the named splits, of which there is only dev."""
        return {name: self.score(self.answer(predict)) for name in splits}

    def predict_test(self, predict: Predict) -> list[Prediction]:
        """Answers the dev questions, for those of SQuAD's test are not published."""
        return self.answer(predict)

    def write_predictions(
        self, run_folder: str | os.PathLike, outputs: Sequence[Prediction]
    ) -> None:
        """Writes what `answer` returned to a run's `predictions`, in the form of SQuAD's scripts.

        `predictions.json`: the answer to each question's id. `nbest_predictions.json`: its
        best spans with their probabilities. For data with unanswerable questions also
        `null_odds.json`: how much likelier no answer is than the best span.

        Args:
          run_folder: the run's folder; what stands there is replaced, whole.
          outputs: one prediction per dev question.
        """
        threshold = self._decoding.null_threshold if self._data.has_unanswerable else None
        files = {
            "predictions.json": {p.id: p.answer(threshold) for p in outputs},
            "nbest_predictions.json": {p.id: _with_probabilities(p) for p in outputs},
        }
        if self._data.has_unanswerable:
            files["null_odds.json"] = {p.id: p.null_difference for p in outputs}
        with atomic_folder(pathlib.Path(run_folder, FOLDER)) as folder:
            for name, content in files.items():
                text = json.dumps(content, indent=2, ensure_ascii=False)
                (folder / name).write_text(text + "\n", encoding="utf-8")

    def export(self, folder: str | os.PathLike, model: tf_keras.Model) -> None:
        """Writes a SavedModel that answers raw questions; see `export_span_model`."""
        export_span_model(
            folder,
            model,
            self._preprocess,
            self._form,
            self._decoding,
            self._data.has_unanswerable,
        )


def _source(windowed: WindowedQuestions, labels: np.ndarray) -> Source:
    """Returns windows and their labels `<int32>[windows, 2]`, packed when they are read."""
    ends = tf.constant(labels)

    def gather(indices: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        chosen = tf.gather(ends, indices)
        return windowed.inputs(indices), {
            name: chosen[:, column] for column, name in enumerate(_OUTPUTS)
        }

    return Source((windowed.windows.first + windowed.windows.size).numpy(), gather)


def _with_probabilities(prediction: Prediction) -> list[dict[str, object]]:
    """Returns a question's best spans; their probabilities are a softmax over them alone."""
    scores = np.array([span.score for span in prediction.spans])
    probabilities = tf.nn.softmax(scores).numpy().tolist()
    return [
        {**dataclasses.asdict(span), "probability": probability}
        for span, probability in zip(prediction.spans, probabilities, strict=True)
    ]
