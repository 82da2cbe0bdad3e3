import pytest

from train.tasks.forms import Classification, Regression, Spans
from train.tasks.table import TASKS


@pytest.mark.parametrize(
    ("form", "columns", "shortest"),
    [
        (Classification(), 1, 3),  # [CLS] a [SEP]
        (Classification(2), 2, 5),  # [CLS] a [SEP] b [SEP]
        (Regression((0, 5)), 2, 5),
        (Spans(), 2, 68),  # [CLS], 64 tokens, [SEP] a [SEP]
        (Spans(max_query_length=4), 2, 8),
    ],
)
def test_the_shortest_sequences(form, columns, shortest):
    assert form.columns == columns
    assert form.shortest(columns) == shortest


def test_defaults_of_the_tasks():
    for name, task in TASKS.items():
        spans = name.startswith("squad")
        assert task.form.seq_length == (384 if spans else 128)
        assert task.form.head_dropout == (0.0 if spans else 0.1)
        assert task.form.pools != spans
        assert task.form.seq_length >= task.form.shortest(task.form.columns or 2)


def test_forms_are_values():
    assert Classification(2) == Classification(columns=2) != Classification()
    assert TASKS["stsb"].form == Regression((0.0, 5.0), columns=2)
    assert TASKS["csv"].form.columns is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spans(doc_stride=0), r"`doc_stride` must be at least 1\. Received: 0"),
        (lambda: Spans(max_query_length=-1), r"`max_query_length` must be at least 1"),
        (lambda: Regression((5.0, 0.0)), r"`limits` must be a lower and a higher value"),
        (lambda: Regression((float("nan"), 1.0)), "`limits`"),
    ],
)
def test_what_makes_no_sense_fails_at_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()
