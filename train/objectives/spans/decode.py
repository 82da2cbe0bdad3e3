"""From start and end logits to answers, on the host.

Every span of up to so many tokens inside a window competes by the sum of its two logits,
over all windows of a question. The rule of BERT's released code that a span may only start
where its window shows the most context is left out: windows overlap by at least half, and
the rule forbids spans that go on past the next window's start.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from train.objectives.spans.windows import WindowedQuestions

_WINDOWS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class DecodeSettings:
    """How answers are chosen.

    Args:
      n_best: spans to take from each window, and to keep of those of a question that have
        different texts.
      max_answer_length: tokens of the longest answer.
      null_threshold: where there may be no answer, there is none if the score of that is
        above the best span's by more than this.

    Raises:
      ValueError: a number is below 1.
    """

    n_best: int = 20
    max_answer_length: int = 30
    null_threshold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_best", "max_answer_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Span:
    """A passage of a context, in code points, and the sum of its two logits."""

    text: str
    start: int
    end: int
    score: float


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says to one question.

    Args:
      id: the question's.
      spans: the best ones, best first, each with another text; none only if the context
        has no tokens.
      null_score: the sum of [CLS]'s two logits, the least of all windows: how sure the
        model is that no window holds the answer.
    """

    id: str
    spans: tuple[Span, ...]
    null_score: float

    @property
    def null_difference(self) -> float:
        """How far `null_score` is above the best span's."""
        return self.null_score - self.spans[0].score if self.spans else 0.0

    def answer(self, null_threshold: float | None) -> str:
        """Returns the best span's text, or none where `null_difference` is above a threshold.

        Args:
          null_threshold: the threshold, or `None` where there always is an answer.
        """
        if not self.spans or (null_threshold is not None and self.null_difference > null_threshold):
            return ""
        return self.spans[0].text


def decode(
    windowed: WindowedQuestions,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    settings: DecodeSettings,
) -> list[Prediction]:
    """Chooses each question's best spans.

    Args:
      windowed: the questions.
      start_logits: of all windows, `<float32>[windows, seq]`.
      end_logits: the same for ends.
      settings: how to choose.

    Returns:
      One prediction per question, in their order.
    """
    question, start, size, first = (column.numpy() for column in windowed.windows)
    null = start_logits[:, 0] + end_logits[:, 0]
    found: list[list[tuple[float, int, int]]] = [[] for _ in windowed.split.questions]
    for low in range(0, len(windowed), _WINDOWS_AT_ONCE):
        part = slice(low, low + _WINDOWS_AT_ONCE)
        scores, begins, ends = best_spans(
            start_logits[part], end_logits[part], first[part], size[part], settings
        )
        # From positions in the input to tokens of the context.
        shift = (start - first)[part, np.newaxis]
        for row, index in enumerate(question[part]):
            spans = zip(scores[row], (begins + shift)[row], (ends + shift)[row], strict=True)
            found[index].extend(span for span in spans if span[0] > -np.inf)
    # A question's windows follow one another.
    null = np.minimum.reduceat(null, np.searchsorted(question, np.arange(len(found))))
    return [
        Prediction(
            windowed.split.questions[index].id,
            _distinct(windowed, index, spans, settings.n_best),
            float(null[index]),
        )
        for index, spans in enumerate(found)
    ]


def best_spans(
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    first: np.ndarray,
    size: np.ndarray,
    settings: DecodeSettings,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds each window's best spans.

    Args:
      start_logits: `<float32>[windows, seq]`.
      end_logits: `<float32>[windows, seq]`.
      first: position of the context's first token, `<int>[windows]`.
      size: number of the context's tokens, `<int>[windows]`.
      settings: how many spans, and of what length.

    Returns:
      Scores, best first, and the positions of the first and the last token, all
      `[windows, spans]`. The score is -inf where a window holds fewer spans.
    """
    positions = np.arange(start_logits.shape[1])
    inside = (positions >= first[:, np.newaxis]) & (positions < (first + size)[:, np.newaxis])
    longest = settings.max_answer_length
    ends = np.pad(
        np.where(inside, end_logits, -np.inf), [(0, 0), (0, longest - 1)], constant_values=-np.inf
    )
    # [windows, seq, longest]: a span by its first token and its length.
    scores = np.where(inside, start_logits, -np.inf)[:, :, np.newaxis] + (
        np.lib.stride_tricks.sliding_window_view(ends, longest, axis=1)
    )
    scores = scores.reshape(len(scores), -1)
    count = min(settings.n_best, scores.shape[1])
    chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    kept = np.take_along_axis(scores, chosen, axis=1)
    order = np.lexsort((chosen, -kept))
    chosen, kept = (np.take_along_axis(values, order, axis=1) for values in (chosen, kept))
    begins, lengths = np.divmod(chosen, longest)
    return kept, begins, begins + lengths


def _distinct(
    windowed: WindowedQuestions, index: int, found: list[tuple[float, int, int]], n_best: int
) -> tuple[Span, ...]:
    """Returns the best of a question's spans, of each text the best."""
    context = windowed.split.questions[index].context
    text, offsets = windowed.split.contexts[context], windowed.offsets[context]
    spans: dict[str, Span] = {}
    for score, first, last in sorted(found, key=lambda span: -span[0]):
        start, end = int(offsets[first, 0]), int(offsets[last, 1])
        spans.setdefault(text[start:end], Span(text[start:end], start, end, float(score)))
    return tuple(spans.values())[:n_best]
