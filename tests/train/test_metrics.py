import warnings

import numpy as np
import pytest

from train.metrics import classification_metrics


@pytest.mark.parametrize(
    ("labels", "predictions", "accuracy", "macro_f1"),
    [
        ([0, 1, 2], [0, 1, 2], 1.0, 1.0),
        ([0, 1], [1, 0], 0.0, 0.0),
        # F1 of class 0: 2 * 2 / (2 + 3); of class 1: 2 * 1 / (2 + 1).
        ([0, 0, 1, 1], [0, 0, 0, 1], 0.75, (4 / 5 + 2 / 3) / 2),
        # Class 2 is predicted but does not occur: its F1 is 0 and counts.
        ([0, 0, 1, 1], [0, 2, 1, 1], 0.75, (2 / 3 + 1 + 0) / 3),
        # Everything is put in one class.
        ([0, 1, 1, 1], [1, 1, 1, 1], 0.75, (0 + 6 / 7) / 2),
        ([1, 1], [1, 1], 1.0, 1.0),
    ],
)
def test_scores_match_those_computed_by_hand(labels, predictions, accuracy, macro_f1):
    logits = 2.0 * np.eye(4, dtype=np.float32)[predictions] - 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = classification_metrics(np.array(labels, np.int32), logits)
    assert scores == pytest.approx({"accuracy": accuracy, "macro_f1": macro_f1})
    assert {type(score) for score in scores.values()} == {float}
