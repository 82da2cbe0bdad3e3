"""What a task asks of a model: a class, a value, or a span of a text.

A form says what flags default to and allow. Each has these attributes: `columns`, texts per
example, or `None` where the user says; `seq_length`, tokens per example, special tokens
included, where nothing else is said; `head_dropout`, the probability of dropping a feature that
the head reads in training, likewise; and `pools`, whether the head reads one pooled vector per
example and not every position.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar


class _OfTexts:
    """What classifications and regressions have in common."""

    seq_length: ClassVar[int] = 128
    head_dropout: ClassVar[float] = 0.1
    pools: ClassVar[bool] = True

    def shortest(self, columns: int) -> int:
        """Returns how many tokens hold any example: [CLS], and a token and [SEP] per text."""
        return 1 + 2 * columns


@dataclasses.dataclass(frozen=True)
class Classification(_OfTexts):
    """A text, or a pair of texts, is of one class.

    Args:
      columns: 1, or 2 for pairs; `None` where the user says.
    """

    columns: int | None = 1


@dataclasses.dataclass(frozen=True)
class Regression(_OfTexts):
    """A text, or a pair of texts, has a value.

    Args:
      limits: the lowest and the highest value.
      columns: as in `Classification`.

    Raises:
      ValueError: the lowest value is not below the highest.
    """

    limits: tuple[float, float]
    columns: int | None = 2

    def __post_init__(self) -> None:
        low, high = self.limits
        if not low < high:
            raise ValueError(f"`limits` must be a lower and a higher value. Received: {low, high}")


@dataclasses.dataclass(frozen=True)
class Spans:
    """The answer to a question is a span of a context, which is shown window by window.

    Args:
      doc_stride: tokens from a window's start to the next one's. Where this leaves less
        than half of a window in common with the next, half a window is taken instead, so
        that a short answer lies whole in one of them also at small lengths.
      max_query_length: tokens of a question; what goes beyond is cut off.

    Raises:
      ValueError: a number is below 1.

    Reference:
      Devlin et al. 2019; the defaults are those of its released code.
    """

    doc_stride: int = 128
    max_query_length: int = 64
    columns: ClassVar[int] = 2
    seq_length: ClassVar[int] = 384
    head_dropout: ClassVar[float] = 0.0  # BERT's released code drops none.
    pools: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("doc_stride", "max_query_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)}")

    def shortest(self, columns: int = columns) -> int:
        """Returns how many tokens hold the longest question and a token of its context.

        [CLS] stands in front, and [SEP] behind each of the two.
        """
        return 1 + columns + self.max_query_length + 1


Form = Classification | Regression | Spans
