import csv
import io

import pytest

from train.study.evidence import Score
from train.study.table import Table, shown, sort_key

TABLE = Table(
    "name",
    "Title",
    "A note.",
    ("a|b", "score", "rate"),
    (("x", Score(97.125, 0.25, 3), 1e-3), ("y, z", None, 3e-05)),
    (("rate", "g"),),
)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (None, ".2f", "–"),
        ("text", ".2f", "text"),
        (1234567, ".2f", "1,234,567"),
        (0.5, ".2f", "0.50"),
        (0.0, ".3f", "0.000"),
        (0.0001, ".3f", "1e-04"),
        (3e-05, "g", "3e-05"),
        (Score(97.125, 0.25, 3), ".1f", "97.1 ± 0.2 (3)"),
        (Score(97.125, None, 1), ".2f", "97.12 (1)"),
        (Score(97.125, None, 0), ".2f", "97.12"),
    ],
)
def test_values_as_they_are_shown(value, form, text):
    assert shown(value, form) == text


def test_markdown():
    assert TABLE.to_markdown() == (
        "| a\\|b | score | rate |\n| --- | --- | --- |\n"
        "| x | 97.12 ± 0.25 (3) | 0.001 |\n| y, z | – | 3e-05 |\n"
    )


def test_csv_has_every_number_unrounded():
    assert list(csv.reader(io.StringIO(TABLE.to_csv()))) == [
        ["a|b", "score", "score, sd", "score, n", "rate"],
        ["x", "97.125", "0.25", "3", "0.001"],
        ["y, z", "", "", "", "3e-05"],
    ]


def test_text_is_in_even_columns():
    assert TABLE.to_text() == (
        "a|b              score   rate\n"
        "x     97.12 ± 0.25 (3)  0.001\n"
        "y, z                 –  3e-05\n"
    )


def test_a_score_is_sorted_by_its_mean():
    assert [sort_key(value) for value in TABLE.rows[0]] == ["x", 97.125, 1e-3]
    assert sort_key(None) is None


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="a row of 1 for 2 columns"):
        Table("n", "t", "", ("a", "b"), (("x",),))
