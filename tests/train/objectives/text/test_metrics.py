import math
import warnings

import numpy as np
import pytest

from train.objectives.text.metrics import METRICS, evaluate


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def logits_of(predictions):
    return 2.0 * np.eye(4, dtype=np.float32)[predictions] - 1.0


@pytest.mark.parametrize(
    ("labels", "predictions", "scores"),
    [
        ([0, 1, 2], [0, 1, 2], {"accuracy": 1, "macro_f1": 1, "matthews": 1, "f1": 1}),
        ([0, 1], [1, 0], {"accuracy": 0, "macro_f1": 0, "matthews": -1, "f1": 0}),
        # F1 of class 0: 2 * 2 / (2 + 3); of class 1: 2 * 1 / (2 + 1). Matthews of 1 true
        # and 0 false positives, 2 true and 1 false negatives: (1*2 - 0*1) / sqrt(1*2*2*3).
        (
            [0, 0, 1, 1],
            [0, 0, 0, 1],
            {
                "accuracy": 0.75,
                "macro_f1": (4 / 5 + 2 / 3) / 2,
                "f1": 2 / 3,
                "matthews": 2 / math.sqrt(12),
            },
        ),
        # Class 2 is predicted but does not occur: its F1 is 0 and counts. Matthews for more
        # classes: (s c - sum p t) / sqrt((s^2 - sum p^2)(s^2 - sum t^2)), s = 4, c = 3.
        (
            [0, 0, 1, 1],
            [0, 2, 1, 1],
            {
                "accuracy": 0.75,
                "macro_f1": (2 / 3 + 1 + 0) / 3,
                "f1": 1,
                "matthews": (12 - 2 - 4) / math.sqrt((16 - 6) * (16 - 8)),
            },
        ),
        # Class 1 against the rest.
        ([2, 1, 1, 0], [1, 1, 0, 0], {"f1": 0.5}),
        # Everything is put in one class, or is of one class, or both.
        (
            [0, 1, 1, 1],
            [1, 1, 1, 1],
            {"accuracy": 0.75, "macro_f1": (0 + 6 / 7) / 2, "matthews": 0, "f1": 6 / 7},
        ),
        ([0, 0, 0], [0, 0, 1], {"matthews": 0, "f1": 0}),
        ([1, 1], [1, 1], {"accuracy": 1, "macro_f1": 1, "matthews": 0, "f1": 1}),
        ([0, 0], [0, 0], {"accuracy": 1, "matthews": 0, "f1": 0}),
    ],
)
def test_scores_of_classes_match_those_computed_by_hand(labels, predictions, scores):
    found = evaluate(tuple(scores), np.array(labels, np.int32), logits_of(predictions))
    assert list(found) == list(scores)
    assert found == pytest.approx(scores)
    assert {type(score) for score in found.values()} == {float}


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize(
    ("labels", "values", "pearson", "spearman"),
    [
        ([0, 1, 2], [10, 20, 30], 1, 1),
        ([0, 1, 2], [3, 2, 1], -1, -1),
        # Deviations (-1, 0, 1) and (-5/3, -2/3, 7/3); the ranks are the same.
        ([0, 1, 2], [0, 1, 4], 4 / math.sqrt(2 * 78 / 9), 1),
        # Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: deviations' products sum to 4.5.
        ([0, 1, 1, 2], [0, 2, 1, 3], 3 / math.sqrt(2 * 5), 4.5 / math.sqrt(4.5 * 5)),
        ([0, 1, 2], [1, 1, 1], 0, 0),
        ([2, 2, 2], [1, 2, 3], 0, 0),
        ([2], [1], 0, 0),
        ([0, 1, 2], [0, math.nan, 1], 0, 0),
    ],
)
def test_correlations_match_those_computed_by_hand(shape, labels, values, pearson, spearman):
    outputs = np.array(values, np.float32).reshape(shape)
    found = evaluate(("spearman", "pearson"), np.array(labels, np.float32), outputs)
    assert found == pytest.approx({"spearman": spearman, "pearson": pearson})
    assert {type(score) for score in found.values()} == {float}


def test_nearly_constant_values_are_no_warning():
    values = np.array([1, 1, 1 + 1e-14])
    scores = evaluate(("spearman", "pearson"), np.array([0.0, 1.0, 2.0]), values)
    assert all(math.isfinite(score) for score in scores.values())


def test_unknown_metric():
    with pytest.raises(ValueError, match=r"'accuracy'.* Received: \['bleu'\]"):
        evaluate(("accuracy", "bleu"), np.array([0]), logits_of([0]))


@pytest.mark.parametrize("name", METRICS)
def test_labels_and_outputs_of_different_number(name):
    with pytest.raises(ValueError, match="2 labels, but 1 outputs"):
        evaluate((name,), np.array([0, 1]), logits_of([0]))
