"""Metrics of predictions, by scikit-learn and SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from sklearn import metrics


def evaluate(names: Sequence[str], labels: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Scores a model's outputs for one split.

    `accuracy`, `f1` (of class 1 against the rest), `macro_f1` (the mean over the classes
    that occur or are predicted) and `matthews` are for classes; the likeliest is predicted.
    `pearson` and `spearman` are for values. Accuracy and F1 are in [0, 1], the others in
    [-1, 1]; a score that is undefined, such as a correlation with a constant, is 0.

    Args:
      names: the metrics wanted, keys of `METRICS`.
      labels: `<int>[examples]` classes, or `<float>[examples]` values.
      outputs: logits `<float>[examples, classes]`, or values `<float>[examples]` or
        `<float>[examples, 1]`.

    Returns:
      Each name's score.

    Raises:
      ValueError: a name is unknown, or labels and outputs differ in their number.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"`names` must be of {sorted(METRICS)}. Received: {unknown}")
    labels, outputs = np.asarray(labels), np.asarray(outputs)
    if len(labels) != len(outputs):
        raise ValueError(f"There are {len(labels)} labels, but {len(outputs)} outputs")
    return {name: float(METRICS[name](labels, outputs)) for name in names}


def _accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    return metrics.accuracy_score(labels, np.argmax(logits, axis=-1))


def _f1(labels: np.ndarray, logits: np.ndarray) -> float:
    return metrics.f1_score(labels == 1, np.argmax(logits, axis=-1) == 1, zero_division=0.0)


def _macro_f1(labels: np.ndarray, logits: np.ndarray) -> float:
    return metrics.f1_score(labels, np.argmax(logits, axis=-1), average="macro", zero_division=0.0)


def _matthews(labels: np.ndarray, logits: np.ndarray) -> float:
    predictions = np.argmax(logits, axis=-1)
    if _constant(labels) or _constant(predictions):
        return 0.0
    return metrics.matthews_corrcoef(labels, predictions)


def _pearson(labels: np.ndarray, values: np.ndarray) -> float:
    return _correlation(stats.pearsonr, labels, values)


def _spearman(labels: np.ndarray, values: np.ndarray) -> float:
    return _correlation(stats.spearmanr, labels, values)


def _correlation(function: Callable, labels: np.ndarray, values: np.ndarray) -> float:
    labels, values = (array.reshape(-1).astype(np.float64) for array in (labels, values))
    if _constant(labels) or _constant(values) or not np.all(np.isfinite(values)):
        return 0.0
    with warnings.catch_warnings():  # Of values that are nearly constant.
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return function(labels, values).statistic


def _constant(array: np.ndarray) -> bool:
    return len(array) == 0 or bool(np.all(array == array[0]))


METRICS = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
