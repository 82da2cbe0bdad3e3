import warnings

import numpy as np
import optuna
import pytest
from skops import io
from threadpoolctl import threadpool_limits

from train.baselines.text_models import build, count_coefficients, outputs, suggest

CLASSES = ("corn", "oil", "trade")
MODELS = (
    "gradient_boosting",
    "gradient_descent",
    "linear_svm",
    "logistic_regression",
    "multilayer_perceptron",
    "naive_bayes",
)
REGRESSORS = (*(name for name in MODELS[:3]), "multilayer_perceptron", "ridge_regression")


class Chooses:
    """A trial that takes what it is told to, else the first choice, or the lowest number."""

    def __init__(self, **told):
        self.told = told
        self.asked = []

    def _take(self, name, default):
        assert name not in self.asked
        self.asked.append(name)
        return self.told.get(name, default)

    def suggest_categorical(self, name, choices):
        taken = self._take(name, choices[0])
        assert taken in choices
        return taken

    def suggest_int(self, name, low, high, *, log=False):
        return self._take(name, low)

    def suggest_float(self, name, low, high, *, log=False):
        return self._take(name, (low * high) ** 0.5)


@pytest.fixture(scope="module")
def texts():
    random = np.random.default_rng(0)
    words = [f"word{index}" for index in range(40)]
    labels = np.array([CLASSES[index % 3] for index in range(90)])
    return [" ".join([label, *random.choice(words, 6)]) for label in labels], labels


@pytest.fixture(scope="module")
def pairs():
    random = np.random.default_rng(0)
    words = [f"word{index}" for index in range(40)]
    shared = random.integers(0, 7, 90)
    first = [list(random.choice(words, 6, replace=False)) for _ in shared]
    second = [each[:n] + [f"other{n}"] * (6 - n) for each, n in zip(first, shared, strict=True)]
    joined = [(" ".join(a), " ".join(b)) for a, b in zip(first, second, strict=True)]
    return joined, shared.astype(np.float32)


def fit(settings, examples, labels, is_regression=False):
    with warnings.catch_warnings(), threadpool_limits(1, "openmp"):
        warnings.simplefilter("ignore")
        return build(settings, is_regression=is_regression, seed=3).fit(examples, labels)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_classes_and_is_read_again(model, texts):
    examples, labels = texts
    settings = suggest(Chooses(model=model), columns=1, is_regression=False)
    assert settings["model"] == model
    assert ("components" in settings) == (model in ("gradient_boosting", "multilayer_perceptron"))
    fitted = fit(settings, examples, labels)
    scores = outputs(fitted, examples, CLASSES)
    assert scores.shape == (90, 3)
    assert np.mean(scores.argmax(axis=1) == [CLASSES.index(label) for label in labels]) > 0.9
    again = fit(settings, examples, labels)
    np.testing.assert_array_equal(outputs(again, examples, CLASSES), scores)
    written = io.dumps(fitted)
    read = io.loads(written, trusted=io.get_untrusted_types(data=written))
    np.testing.assert_array_equal(read.predict(examples), fitted.predict(examples))
    assert count_coefficients(fitted) > 40


@pytest.mark.parametrize("model", REGRESSORS)
def test_every_model_learns_values_of_pairs(model, pairs):
    examples, values = pairs
    trial = Chooses(model=model, multilayer_perceptron_learning_rate_init=1e-2)
    settings = suggest(trial, columns=2, is_regression=True)
    predicted = outputs(fit(settings, examples, values, is_regression=True), examples, ())
    assert predicted.shape == (90,)
    assert np.corrcoef(predicted, values)[0, 1] > 0.7


@pytest.mark.parametrize(
    "features", ["words", "characters", "words_and_characters", "hashed_words"]
)
@pytest.mark.parametrize("reduce", [False, True])
def test_every_kind_of_features_tells_classes(features, reduce, texts):
    examples, labels = texts
    trial = Chooses(features=features, model="linear_svm", reduce=reduce, linear_svm_C=1.0)
    fitted = fit(suggest(trial, columns=1, is_regression=False), examples, labels)
    assert np.mean(fitted.predict(examples) == labels) > 0.9


def test_only_what_takes_part_is_drawn():
    trial = Chooses(features="characters", model="naive_bayes")
    settings = suggest(trial, columns=1, is_regression=False)
    assert list(settings) == trial.asked
    assert set(settings) == {
        *("features", "character_ngrams", "min_examples", "max_features", "sublinear"),
        *("model", "naive_bayes_alpha", "naive_bayes_norm"),
    }
    assert "pairs" in suggest(Chooses(), columns=2, is_regression=True)


def test_optuna_draws_settings_that_can_be_built():
    for columns, is_regression in ((1, False), (2, True)):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(20):
            settings = suggest(study.ask(), columns=columns, is_regression=is_regression)
            model = build(settings, is_regression=is_regression, seed=0)
            assert hasattr(model, "predict")


def test_classes_that_were_not_trained_on_score_lowest(texts):
    examples, labels = texts
    known = [index for index, label in enumerate(labels) if label != "oil"]
    settings = suggest(Chooses(), columns=1, is_regression=False)
    fitted = fit(settings, [examples[index] for index in known], labels[known])
    scores = outputs(fitted, examples, CLASSES)
    assert np.all(np.isneginf(scores[:, 1]))
    assert set(scores.argmax(axis=1)) == {0, 2}


def test_coefficients_are_those_that_were_fitted():
    examples, labels = ["a b c", "b c d", "e f a"], np.array(["x", "y", "z"])
    settings = suggest(Chooses(), columns=1, is_regression=False)
    linear = fit(settings, examples, labels)
    assert count_coefficients(linear) == 6 + 3 * (6 + 1)  # IDF, then weights and biases.
    reduced = fit({**settings, "components": 2}, examples, labels)
    assert count_coefficients(reduced) == 6 + 2 * 6 + 3 * (2 + 1)
    settings = suggest(Chooses(model="multilayer_perceptron"), columns=1, is_regression=False)
    deep = fit({**settings, "components": 2}, examples, labels)
    assert count_coefficients(deep) == 6 + 2 * 6 + (2 * 32 + 32) + (32 * 3 + 3)
    hashed = suggest(Chooses(features="hashed_words"), columns=1, is_regression=False)
    count = count_coefficients(fit(hashed, examples, labels))
    assert count == 2**16 + 3 * (2**16 + 1)
