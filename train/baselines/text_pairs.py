"""Features of pairs of texts, from features of each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin

PARTS = ("texts", "comparison", "texts_and_comparison")


class TextPairs(TransformerMixin, BaseEstimator):
    """Turns pairs of texts into features: of both, of how they compare, or of all that.

    With features a and b of the two texts, `texts` is [a, b] and `comparison` is
    [|a - b|, a * b], feature by feature (as Conneau et al. 2017, arXiv 1705.02364, compare
    sentences). Behind them stand, always, the cosine of a and b, the share of words that the
    texts have in common, and how much shorter one is than the other; all in [-1, 1].

    Args:
      texts: a transformer from texts to a matrix `<float>[examples, features]`, sparse or not;
        it is fitted on the first and the second texts together.
      parts: one of `PARTS`.
    """

    def __init__(self, texts: BaseEstimator, parts: str = "texts_and_comparison") -> None:
        self.texts = texts
        self.parts = parts

    def fit(self, pairs: Sequence[tuple[str, str]], labels: Any = None) -> TextPairs:
        """Fits `texts` on both columns.

        Raises:
          ValueError: `parts` is not one of `PARTS`, or as `texts` does.
        """
        if self.parts not in PARTS:
            raise ValueError(f"`parts` must be one of {PARTS}. Received: parts={self.parts!r}")
        self.texts.fit([text for pair in pairs for text in pair])
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True  # `texts` says whether it is.

    def transform(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """Returns the features, a matrix `<float>[examples, ...]`, sparse if those of texts are."""
        first, second = (self.texts.transform([pair[side] for pair in pairs]) for side in (0, 1))
        product = first.multiply(second) if sparse.issparse(first) else first * second
        columns = [first, second] if "texts" in self.parts else []
        if "comparison" in self.parts:
            columns += [abs(first - second), product]
        columns.append(_similarities(pairs, first, second, product))
        return sparse.hstack(columns, "csr") if sparse.issparse(first) else np.hstack(columns)


def _similarities(
    pairs: Sequence[tuple[str, str]], first: Any, second: Any, product: Any
) -> np.ndarray:
    """Returns the three numbers for each pair, `<float32>[examples, 3]`."""

    def norms(matrix: Any) -> np.ndarray:
        squares = matrix.multiply(matrix) if sparse.issparse(matrix) else matrix * matrix
        return np.sqrt(np.asarray(squares.sum(axis=1)).ravel())

    scale = norms(first) * norms(second)
    dots = np.asarray(product.sum(axis=1)).ravel()
    cosines = np.divide(dots, scale, out=np.zeros_like(scale), where=scale > 0)
    rest = np.array([(_shared(*pair), _shorter(*pair)) for pair in pairs]).reshape(-1, 2)
    return np.column_stack([cosines, rest]).astype(np.float32)


def _shared(first: str, second: str) -> float:
    words = [set(text.lower().split()) for text in (first, second)]
    return len(words[0] & words[1]) / max(1, len(words[0] | words[1]))


def _shorter(first: str, second: str) -> float:
    lengths = sorted((len(first), len(second)))
    return 1 - lengths[0] / max(1, lengths[1])
