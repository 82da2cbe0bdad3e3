"""Metrics of a classification, by scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn import metrics


def classification_metrics(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Scores predictions.

    Args:
      labels: `<int>[examples]`.
      logits: `<float>[examples, classes]`.

    Returns:
      `accuracy` and `macro_f1`, the mean over the classes that occur or are predicted;
      both in [0, 1].
    """
    predictions = np.argmax(logits, axis=-1)
    return {
        "accuracy": float(metrics.accuracy_score(labels, predictions)),
        "macro_f1": float(metrics.f1_score(labels, predictions, average="macro")),
    }
