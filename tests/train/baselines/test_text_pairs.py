import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline

from train.baselines.text_pairs import TextPairs

PAIRS = [("a b", "a c c"), ("b", "b"), ("", "c a b b")]
A = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
B = np.array([[1, 0, 2], [0, 1, 0], [1, 2, 1]])
SIMILAR = np.array([[1 / np.sqrt(10), 1 / 3, 2 / 5], [1, 1, 0], [0, 0, 1]])


def counts():
    return CountVectorizer(token_pattern=r"\w+", dtype=np.float64)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("texts", [A, B]),
        ("comparison", [abs(A - B), A * B]),
        ("texts_and_comparison", [A, B, abs(A - B), A * B]),
    ],
)
def test_features_are_those_of_both_texts_and_how_they_compare(parts, expected):
    features = TextPairs(counts(), parts).fit_transform(PAIRS)
    assert sparse.issparse(features)
    np.testing.assert_allclose(features.toarray(), np.hstack([*expected, SIMILAR]), atol=1e-6)


def test_dense_features_of_texts_stay_dense():
    texts = make_pipeline(counts(), TruncatedSVD(2, random_state=0))
    pairs = TextPairs(texts, "comparison").fit(PAIRS)
    features = pairs.transform(PAIRS[:2])
    first, second = (texts.transform([pair[side] for pair in PAIRS[:2]]) for side in (0, 1))
    np.testing.assert_allclose(features[:, :2], abs(first - second))
    np.testing.assert_allclose(features[:, 2:4], first * second)
    np.testing.assert_allclose(features[1, 4:], [1, 1, 0], atol=1e-6)


def test_it_is_fitted_on_both_columns_alone():
    pairs = TextPairs(counts()).fit([("a", "b")])
    assert list(pairs.texts.get_feature_names_out()) == ["a", "b"]
    assert pairs.transform([("z", "z z")]).shape == (1, 11)


def test_unknown_parts_are_an_error():
    with pytest.raises(ValueError, match="Received: parts='both'"):
        TextPairs(counts(), "both").fit(PAIRS)
