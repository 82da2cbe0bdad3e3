import itertools

import numpy as np
import pytest

from train.objectives.spans.decode import DecodeSettings, Prediction, Span, best_spans, decode
from train.objectives.spans.windows import WindowedQuestions
from train.tasks import squad
from train.tasks.forms import Spans


def test_best_spans_are_those_of_a_search_through_all():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 5, 12)).astype(np.float32)
    first, size = np.array([3, 3, 5, 2, 3]), np.array([8, 1, 6, 9, 0])
    settings = DecodeSettings(n_best=7, max_answer_length=4)
    scores, begins, ends = best_spans(start, end, first, size, settings)
    for row in range(5):
        positions = range(first[row], first[row] + size[row])
        every = sorted(
            (
                (start[row, i] + end[row, j], i, j)
                for i, j in itertools.product(positions, positions)
                if i <= j < i + 4
            ),
            reverse=True,
        )[:7]
        found = list(zip(scores[row], begins[row], ends[row], strict=True))
        assert found[: len(every)] == every
        assert np.all(scores[row][len(every) :] == -np.inf)


def test_of_spans_that_score_the_same_the_first_is_taken():
    zeros = np.zeros((1, 6), np.float32)
    settings = DecodeSettings(n_best=100, max_answer_length=2)
    _, begins, ends = best_spans(zeros, zeros, np.array([2]), np.array([3]), settings)
    spans = list(zip(begins[0].tolist(), ends[0].tolist(), strict=True))
    assert spans[:5] == [(2, 2), (2, 3), (3, 3), (3, 4), (4, 4)]


@pytest.fixture(scope="module")
def windowed(squad_folder, preprocess_of):
    dev = squad.read(squad_folder, "2.0").dev
    return WindowedQuestions(dev, preprocess_of(64), Spans(20, 16))


def certain(windowed):
    """Logits of a model that knows the first gold answers, and that others are none."""
    labels = windowed.labels()
    start, end = np.zeros((2, len(windowed), 64), np.float32)
    rows = np.arange(len(windowed))
    start[rows, labels[:, 0]] = 5.0
    end[rows, labels[:, 1]] = 5.0
    return start, end


def test_a_model_that_knows_the_answers_gives_them(windowed):
    predictions = decode(windowed, *certain(windowed), DecodeSettings())
    for asked, prediction in zip(windowed.split.questions, predictions, strict=True):
        assert prediction.id == asked.id
        best = prediction.spans[0]
        context = windowed.split.contexts[asked.context]
        assert context[best.start : best.end] == best.text
        if asked.answers:
            assert (best.text, best.start) == (asked.answers[0].text, asked.answers[0].start)
            assert best.score == 10
            # Some other windows say that they hold no answer; one that holds it does not.
            assert prediction.answer(0.0) == best.text
            assert prediction.null_score == 0
        else:
            assert (prediction.null_score, prediction.null_difference) == (10, 10)
            assert prediction.answer(0.0) == ""
            assert prediction.answer(10.0) == prediction.answer(None) == best.text


def test_windows_compete_and_texts_do_not_repeat(windowed):
    start, end = np.random.default_rng(1).normal(size=(2, len(windowed), 64)).astype(np.float32)
    settings = DecodeSettings(n_best=5)
    predictions = decode(windowed, start, end, settings)
    question, shown, size, first = (column.numpy() for column in windowed.windows)
    scores, begins, ends = best_spans(start, end, first, size, settings)
    for index, prediction in enumerate(predictions):
        assert len({span.text for span in prediction.spans}) == len(prediction.spans) == 5
        listed = [span.score for span in prediction.spans]
        assert listed == sorted(listed, reverse=True)
        windows = np.flatnonzero(question == index)
        best = windows[scores[windows, 0].argmax()]
        assert listed[0] == pytest.approx(scores[best, 0])
        offsets = windowed.offsets[windowed.split.questions[index].context]
        shift = shown[best] - first[best]
        assert prediction.spans[0].start == offsets[begins[best, 0] + shift, 0]
        assert prediction.spans[0].end == offsets[ends[best, 0] + shift, 1]
        assert prediction.null_score == pytest.approx((start + end)[windows, 0].min())


def test_a_context_without_tokens_has_no_answer(preprocess_of):
    split = squad.Questions([" "], [squad.Question("q", "a", 0, ())])
    empty = WindowedQuestions(split, preprocess_of(12), Spans(4, 4))
    (prediction,) = decode(empty, *np.ones((2, 1, 12), np.float32), DecodeSettings())
    assert prediction == Prediction("q", (), 2.0)
    assert (prediction.answer(None), prediction.null_difference) == ("", 0.0)


def test_the_threshold_itself_still_answers():
    prediction = Prediction("q", (Span("text", 0, 4, 1.0),), null_score=3.0)
    assert prediction.answer(2.0) == "text"
    assert prediction.answer(1.9) == ""


def test_impossible_settings():
    with pytest.raises(ValueError, match=r"`n_best` must be at least 1\. Received: 0"):
        DecodeSettings(n_best=0)
