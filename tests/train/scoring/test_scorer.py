"""How rows are given to the model."""

import json

import numpy as np
import pytest

from train.scoring import scorer
from train.scoring.files import find_files
from train.scoring.plan import cut
from train.scoring.work import Work
from train.serving.signatures import Form


class Model:
    """Answers with the lengths of texts, and remembers what it was given together."""

    tasks = ()
    form = Form(("text",), "regression")

    def __init__(self, folder):
        self.batches = []

    def answer(self, columns):
        lengths = [len(text) for text in columns[0]]
        self.batches.append(lengths)
        return {"value": np.array(lengths, np.float32)}


@pytest.fixture
def score(monkeypatch, tmp_path):
    """Scores texts; returns the model's batches, the values in the rows' order, and progress."""
    monkeypatch.setattr(scorer, "TextModel", Model)

    def score(lines, batch_size):
        (tmp_path / "a.jsonl").write_text("\n".join(lines))
        for name in ("predictions", "malformed"):
            (tmp_path / "out" / name).mkdir(parents=True)
        files = tuple(find_files([str(tmp_path / "a.jsonl")], None))
        told = []
        (part,) = cut(files, 1000, lambda count: None)
        work = Work("model", str(tmp_path / "out"), files, ("text",), batch_size=batch_size)
        one = scorer.Scorer(work)
        one.score(part, told.append)
        (written,) = (tmp_path / "out" / "predictions").iterdir()
        rows = [json.loads(line) for line in written.read_text().splitlines()]
        return one._model.batches, [(row["row"], row["value"]) for row in rows], told

    return score


def test_texts_of_like_length_are_computed_together(score):
    lengths = [9, 1, 5, 2, 8, 3, 7]
    lines = [json.dumps({"text": "x" * length}) for length in lengths]
    lines.insert(2, "{}")  # Malformed.
    batches, values, told = score(lines, 3)
    assert batches == [[1, 2, 3], [5, 7, 8], [9]]
    assert values == [(0, 9), (1, 1), (3, 5), (4, 2), (5, 8), (6, 3), (7, 7)]
    assert sum(told) == 8


def test_no_more_rows_are_held_than_a_window_of_batches(score):
    lengths = [2, 1] * 17
    batches, values, _ = score([json.dumps({"text": "x" * length}) for length in lengths], 1)
    assert [length for (length,) in batches] == [1] * 8 + [2] * 8 + [1] * 8 + [2] * 8 + [1, 2]
    assert values == list(enumerate(lengths))
