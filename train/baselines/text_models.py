"""Models of texts without BERT: features of words and characters, and what reads them.

A model is told by its settings, a flat object of JSON's types, which `suggest` draws and
`build` turns into a scikit-learn pipeline. It takes texts, or pairs of texts, as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import (
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import ComplementNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.svm import LinearSVC, LinearSVR

from train.baselines.text_pairs import PARTS, TextPairs

Settings = dict[str, Any]

# Changes with what `suggest` may draw and with what `build` makes of it.
VERSION = 1
_TEXTS = ("words", "characters", "words_and_characters", "hashed_words")
# Models of few features: they read what is left of the texts' after a truncated SVD (LSA).
_DENSE = ("gradient_boosting", "multilayer_perceptron")
# The numbers that a fitted part holds and predicts with, by scikit-learn's names.
_FITTED = (
    "coef_",
    "intercept_",
    "coefs_",
    "intercepts_",
    "feature_log_prob_",
    "idf_",
    "components_",
)
_WORD = r"(?u)\b\w+\b"  # scikit-learn's own leaves out words of one letter.


class Trial(Protocol):
    """What draws settings: `optuna.Trial`, or whatever has these methods."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Draws one of the choices."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Draws a whole number, both ends included."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draws a number, both ends included."""


def suggest(trial: Trial, *, columns: int, is_regression: bool) -> Settings:
    """Draws the settings of one model.

    Args:
      trial: draws them; which it is asked for depends on those that it has drawn.
      columns: texts per example, 1 or 2.
      is_regression: whether values are wanted, and not classes.

    Returns:
      The settings by name; `features` and `model` are always there.
    """
    models = _REGRESSORS if is_regression else _CLASSIFIERS
    drawn: Settings = {}

    def choose(name: str, *choices: Any) -> Any:
        drawn[name] = trial.suggest_categorical(name, choices)
        return drawn[name]

    def count(name: str, low: int, high: int, log: bool = False) -> None:
        drawn[name] = trial.suggest_int(name, low, high, log=log)

    features = choose("features", *_TEXTS)
    if "words" in features:
        count("word_ngrams", 1, 3)
        choose("stop_words", "kept", "left_out")
    if "characters" in features:
        count("character_ngrams", 3, 5)
    if features != "hashed_words":
        count("min_examples", 1, 5)
        count("max_features", 2_000, 100_000, log=True)
    choose("sublinear", True, False)
    if columns == 2:
        choose("pairs", *PARTS)
    model = choose("model", *models)
    if model in _DENSE or (model != "naive_bayes" and choose("reduce", False, True)):
        count("components", 32, 256, log=True)
    _, numbers, choices = models[model]
    for name, (low, high) in numbers.items():
        whole = isinstance(low, int)
        draw = trial.suggest_int if whole else trial.suggest_float
        drawn[f"{model}_{name}"] = draw(f"{model}_{name}", low, high, log=True)
    for name, allowed in choices.items():
        choose(f"{model}_{name}", *allowed)
    return drawn


def build(settings: Mapping[str, Any], *, is_regression: bool, seed: int) -> Pipeline:
    """Returns the model of some settings, not fitted.

    Args:
      settings: as `suggest` returns them.
      is_regression: whether it predicts values, and not classes.
      seed: of all that is random in it.

    Returns:
      A pipeline from texts, or from pairs of texts where the settings say how to join them.
    """
    texts = _texts(settings)
    if "components" in settings:
        texts = make_pipeline(texts, TruncatedSVD(settings["components"], random_state=seed))
    if "pairs" in settings:
        texts = TextPairs(texts, settings["pairs"])
    name = settings["model"]
    make, numbers, choices = (_REGRESSORS if is_regression else _CLASSIFIERS)[name]
    own = {key: settings[f"{name}_{key}"] for key in (*numbers, *choices)}
    return make_pipeline(texts, make(seed, **own))


def outputs(model: Pipeline, texts: Sequence[Any], classes: Sequence[str]) -> np.ndarray:
    """Returns what a fitted model says of texts, as metrics take it.

    Args:
      model: what `build` returned, fitted on names of classes, or on values.
      texts: texts, or pairs of texts.
      classes: the names of all classes; of a regression none.

    Returns:
      Scores `<float64>[examples, classes]`, of classes that the model knows nothing of the
      lowest; or values `<float64>[examples]`.
    """
    if not classes:
        return np.asarray(model.predict(texts), np.float64)
    decides = hasattr(model, "decision_function")
    scores = np.asarray((model.decision_function if decides else model.predict_proba)(texts))
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    every = np.full([len(scores), len(classes)], -np.inf)
    every[:, [classes.index(name) for name in model.classes_]] = scores
    return every


def count_coefficients(model: BaseEstimator) -> int:
    """Returns how many numbers a fitted model holds and predicts with.

    They are weights of features, also those of an SVD and of inverse document frequencies, and
    of trees one number a node. Vocabularies are not counted.
    """
    parts = [part for _, part in getattr(model, "steps", ())]
    parts += [part for _, part in getattr(model, "transformer_list", ())]
    if isinstance(model, TextPairs):
        parts.append(model.texts)
    total = sum(map(count_coefficients, parts))
    if parts:
        return total
    for name in _FITTED:
        value = vars(model).get(name)
        for array in value if isinstance(value, list) else [value]:
            total += 0 if array is None else np.size(array)
    if isinstance(model, TfidfVectorizer):
        total += np.size(model.idf_)  # It is a property there.
    for trees in getattr(model, "_predictors", ()):
        total += sum(len(tree.nodes) for tree in trees)
    return int(total)


def _texts(settings: Mapping[str, Any]) -> BaseEstimator:
    """Returns what makes a sparse matrix of texts."""
    features, sublinear = settings["features"], settings["sublinear"]
    words = {"token_pattern": _WORD, "ngram_range": (1, settings.get("word_ngrams", 1))}
    words["stop_words"] = "english" if settings.get("stop_words") == "left_out" else None
    if features == "hashed_words":
        hashed = HashingVectorizer(**words, alternate_sign=False, norm=None)
        return make_pipeline(hashed, TfidfTransformer(sublinear_tf=sublinear))
    common = {
        "min_df": settings["min_examples"],
        "max_features": settings["max_features"],
        "sublinear_tf": sublinear,
        "dtype": np.float32,
    }
    longest = settings.get("character_ngrams", 3)
    characters = {"analyzer": "char_wb", "ngram_range": (2, longest)}
    made = {
        "words": lambda: TfidfVectorizer(**words, **common),
        "characters": lambda: TfidfVectorizer(**characters, **common),
    }
    if features in made:
        return made[features]()
    return make_union(made["words"](), made["characters"]())


_Row = tuple[Callable[..., BaseEstimator], dict[str, tuple], dict[str, tuple]]
_WEIGHTS = {"class_weight": (None, "balanced")}

# By name: what makes it of a seed and of its own settings, the ranges of those that are numbers,
# drawn by their logarithms, and the choices of the others.
_CLASSIFIERS: dict[str, _Row] = {
    "logistic_regression": (
        lambda seed, **own: LogisticRegression(max_iter=300, random_state=seed, **own),
        {"C": (1e-2, 1e3)},
        _WEIGHTS,
    ),
    "linear_svm": (
        lambda seed, **own: LinearSVC(random_state=seed, **own),
        {"C": (1e-3, 1e2)},
        _WEIGHTS,
    ),
    "naive_bayes": (
        lambda seed, **own: ComplementNB(**own),
        {"alpha": (1e-3, 10.0)},
        {"norm": (False, True)},
    ),
    "gradient_descent": (
        lambda seed, **own: SGDClassifier(random_state=seed, **own),
        {"alpha": (1e-7, 1e-2)},
        {"loss": ("hinge", "modified_huber", "log_loss"), **_WEIGHTS},
    ),
    "gradient_boosting": (
        lambda seed, **own: HistGradientBoostingClassifier(
            max_iter=100, early_stopping=False, random_state=seed, **own
        ),
        {"learning_rate": (3e-2, 0.3), "max_leaf_nodes": (7, 63), "min_samples_leaf": (5, 50)},
        {},
    ),
    "multilayer_perceptron": (
        lambda seed, units, **own: MLPClassifier((units,), max_iter=50, random_state=seed, **own),
        {"units": (32, 256), "alpha": (1e-6, 1e-1), "learning_rate_init": (3e-4, 1e-2)},
        {},
    ),
}
_REGRESSORS: dict[str, _Row] = {
    "ridge_regression": (
        lambda seed, **own: Ridge(random_state=seed, **own),
        {"alpha": (1e-2, 1e2)},
        {},
    ),
    "linear_svm": (
        lambda seed, **own: LinearSVR(random_state=seed, **own),
        {"C": (1e-3, 1e2), "epsilon": (1e-3, 1.0)},
        {},
    ),
    "gradient_descent": (
        lambda seed, **own: SGDRegressor(random_state=seed, **own),
        {"alpha": (1e-7, 1e-2)},
        {"loss": ("squared_error", "huber", "epsilon_insensitive")},
    ),
    "gradient_boosting": (
        lambda seed, **own: HistGradientBoostingRegressor(
            max_iter=200, early_stopping=False, random_state=seed, **own
        ),
        {"learning_rate": (3e-2, 0.3), "max_leaf_nodes": (7, 63), "min_samples_leaf": (5, 50)},
        {},
    ),
    "multilayer_perceptron": (
        lambda seed, units, **own: MLPRegressor((units,), max_iter=50, random_state=seed, **own),
        {"units": (32, 256), "alpha": (1e-6, 1e-1), "learning_rate_init": (3e-4, 1e-2)},
        {},
    ),
}
