import pytest

from train.objectives.spans.decode import Prediction, Span
from train.objectives.spans.evaluate import evaluate, evaluate_with_unanswerable
from train.tasks.squad import Answer, Question, Questions


def questions(*answers):
    """One question for each tuple of answers."""
    return Questions(
        ["not read"],
        [
            Question(str(number), "?", 0, tuple(Answer(text, 0) for text in texts))
            for number, texts in enumerate(answers)
        ],
    )


def predictions(*texts_and_differences):
    return [
        Prediction(str(number), (Span(text, 0, len(text), 1.0),), 1.0 + difference)
        for number, (text, difference) in enumerate(texts_and_differences)
    ]


def test_the_best_gold_answer_counts():
    split = questions(("the Old Town!",), ("1862", "in 1862"), ("one", "two three four"))
    # Punctuation, case and articles do not count; of four words in all two are shared.
    scores = evaluate(split, predictions(("old town", 9), ("in 1862", 0), ("three", 0)))
    assert scores == pytest.approx({"exact_match": 2 / 3, "f1": (1 + 1 + 0.5) / 3})


def test_no_answer_is_right_where_there_is_none():
    split = questions(("yes",), ("one two",), (), ())
    guesses = predictions(("yes", -4), ("two", -2), ("wrong", -3), ("wrong", 1))
    scores = evaluate_with_unanswerable(split, guesses, null_threshold=0.0)
    assert scores == pytest.approx(
        {
            "f1": (1 + 2 / 3 + 0 + 1) / 4,
            "exact_match": 2 / 4,
            "f1_answerable": (1 + 2 / 3) / 2,
            "exact_match_answerable": 1 / 2,
            "accuracy_unanswerable": 1 / 2,
            # Answering only the surest: right there, and on both without an answer.
            "best_f1": 3 / 4,
            "best_f1_threshold": -4,
            "best_exact_match": 3 / 4,
            "best_exact_match_threshold": -4,
        }
    )
    # The threshold that was found does what it says.
    again = evaluate_with_unanswerable(split, guesses, scores["best_f1_threshold"])
    assert again["f1"] == scores["best_f1"]


def test_a_threshold_that_leaves_all_unanswered():
    split = questions(("yes",), (), ())
    guesses = predictions(("no", -4), ("wrong", -2), ("wrong", 3))
    scores = evaluate_with_unanswerable(split, guesses, 0.0)
    assert scores["best_f1"] == pytest.approx(2 / 3)
    again = evaluate_with_unanswerable(split, guesses, scores["best_f1_threshold"])
    assert again["f1"] == scores["best_f1"]
