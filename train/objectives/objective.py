"""What a run trains and scores, whatever its task: the protocol that objectives keep."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import tf_keras

from keras_adapters.methods.method import Method
from train.fit.input_pipeline import Source
from train.fit.step import AccumulatingModel

# Returns a model's outputs for each example of a source, as `train.fit.predictor` does.
Predict = Callable[[Source], Any]


class Objective(Protocol):
    """What a run needs to know of its task, and all that it does with it.

    An objective is made of a task's examples and a preprocessor before there is a model. It
    holds no model and no strategy: a run builds the model under a strategy's scope, trains it
    on `train`, and hands a `Predict` over to have it scored.

    Attributes:
      train: what is trained on; its labels go with `loss`.
      loss, loss_weights: for the `compile` of what `build` returns.
      splits: names of the labelled splits besides train; `dev`, which is evaluated after
        each epoch, is the first.
      sources: of each of `splits`, by its name, what `evaluate` has predicted.
    """

    train: Source
    loss: Any
    loss_weights: Mapping[str, float] | None
    splits: tuple[str, ...]
    sources: Mapping[str, Source]

    @property
    def output_range(self) -> int | None:
        """How many positions the encoder's last block must compute; `None` is all."""

    def describe(self) -> str:
        """Says in a line what there is to train on and to evaluate."""

    def sizes(self) -> dict[str, int]:
        """Returns the number of examples of `train`, `test` and each of `splits`; 0 is none."""

    def metadata(self) -> dict[str, Any]:
        """Returns what an adapter's description says of the task, in JSON's types."""

    def build(self, encoder: tf_keras.layers.Layer, method: Method) -> AccumulatingModel:
        """Adapts an encoder in place and puts the task's head on it.

        Args:
          encoder: pretrained, built with `output_range`.
          method: what is inserted into it, and what of it trains.

        Returns:
          The model, not compiled, from `input_word_ids`, `input_mask` and `input_type_ids`,
          each `<int32>[batch, seq]`.

        Raises:
          ValueError: as `keras_adapters.freezing.adapt` does.
        """

    def evaluate(self, predict: Predict, splits: Iterable[str]) -> dict[str, dict[str, float]]:
        """Returns the metrics of each of the named splits, the task's own first."""

    def predict_test(self, predict: Predict) -> Any:
        """Returns the model's answers where they are to be handed in, for `write_predictions`."""

    def write_predictions(self, run_folder: str | os.PathLike, outputs: Any) -> None:
        """Writes what `predict_test` returned into a run's `predictions`, all or nothing."""

    def export(self, folder: str | os.PathLike, model: tf_keras.Model) -> None:
        """Writes a SavedModel that takes raw text; a folder that stands there is replaced."""
