"""Exact match and F1 by SQuAD's own scripts, which tf-models-official carries.

Both compare texts after lower-casing and without punctuation, articles and extra white
space; F1 is that of the two texts' words. The best of a question's answers counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from official.nlp.tools import squad_evaluate_v1_1, squad_evaluate_v2_0

from train.objectives.spans.decode import Prediction
from train.tasks.squad import Questions


def evaluate(split: Questions, predictions: Sequence[Prediction]) -> dict[str, float]:
    """Scores predictions where every question has an answer (SQuAD 1.1).

    Args:
      split: the questions with their answers.
      predictions: one per question.

    Returns:
      `f1` and `exact_match`, means over the questions, in [0, 1].
    """
    answers = {prediction.id: prediction.answer(None) for prediction in predictions}
    scores = squad_evaluate_v1_1.evaluate(_as_dataset(split), answers)
    return {"f1": scores["final_f1"], "exact_match": scores["exact_match"]}


def evaluate_with_unanswerable(
    split: Questions, predictions: Sequence[Prediction], null_threshold: float
) -> dict[str, float]:
    """Scores predictions where some questions have no answer (SQuAD 2.0).

    Args:
      split: the questions with their answers, if there are any.
      predictions: one per question.
      null_threshold: see `DecodeSettings`.

    Returns:
      In [0, 1], means over the questions: `f1` and `exact_match`, and if there are such,
      `f1_answerable` and `exact_match_answerable` over those with an answer and
      `accuracy_unanswerable` over those without. `best_f1` and `best_exact_match` are
      what the best threshold would give on this split; `best_f1_threshold` and
      `best_exact_match_threshold` are that.
    """
    dataset = _as_dataset(split)
    answers = {prediction.id: prediction.answer(null_threshold) for prediction in predictions}
    scores = squad_evaluate_v2_0.evaluate(dataset, answers)
    names = {
        "f1": "f1",
        "exact_match": "exact",
        "f1_answerable": "HasAns_f1",
        "exact_match_answerable": "HasAns_exact",
        "accuracy_unanswerable": "NoAns_exact",
    }
    metrics = {name: scores[theirs] / 100 for name, theirs in names.items() if theirs in scores}
    return metrics | _best_thresholds(dataset, predictions)


def _best_thresholds(
    dataset: list[dict[str, Any]], predictions: Sequence[Prediction]
) -> dict[str, float]:
    """Searches thresholds with the script, which takes probabilities of there being no answer.

    It gets the differences' ranks, from 1: it means 0 by "leave all unanswered".
    """
    differences, ranks = np.unique(
        [prediction.null_difference for prediction in predictions], return_inverse=True
    )
    ids = [prediction.id for prediction in predictions]
    scores = squad_evaluate_v2_0.evaluate(
        dataset,
        {prediction.id: prediction.answer(None) for prediction in predictions},
        dict(zip(ids, (ranks + 1).tolist(), strict=True)),
    )
    thresholds = [float(differences[0] - 1), *differences.tolist()]
    return {
        "best_f1": scores["final_f1"] / 100,
        "best_f1_threshold": thresholds[int(scores["final_f1_thresh"])],
        "best_exact_match": scores["final_exact"] / 100,
        "best_exact_match_threshold": thresholds[int(scores["final_exact_thresh"])],
    }


def _as_dataset(split: Questions) -> list[dict[str, Any]]:
    """Returns what the scripts read of a file of SQuAD's."""
    questions = [
        {"id": question.id, "answers": [{"text": answer.text} for answer in question.answers]}
        for question in split.questions
    ]
    return [{"paragraphs": [{"qas": questions}]}]
