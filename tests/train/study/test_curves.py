"""The figures of scores against numbers; their text has the numbers that are drawn."""

import statistics

from train.study.rows import method_rows


def named(drawn, start):
    return [figure for figure in drawn.figures if figure.name.startswith(start)]


def test_the_relative_figure_has_the_median_over_tasks(drawn, evidence):
    """Its text has the numbers that are drawn."""
    condition = evidence.conditions[0]
    rows = {row.label: row for row in method_rows(condition)}
    gaps = [
        rows["adapters 64"].score(column).mean - rows["full fine-tuning"].score(column).mean
        for column in condition.columns
    ]
    (figure,) = named(drawn, "relative")
    assert f"64: {statistics.median(gaps):.2f}" in figure.alt
    assert "There are 2 tasks" in figure.caption
    assert "fine-tuning of the top layers: 1: " in figure.alt


def test_figures_by_task_have_sizes_layers_and_single_methods(drawn, evidence):
    (figure,) = named(drawn, "parameters-reuters")
    for words in ("adapters (3 seeds): 8: ", "LayerNorm only (3 seeds): 2,200: ", "top layers"):
        assert words in figure.alt
    column = evidence.conditions[0].columns[1]
    score = method_rows(evidence.conditions[0])[0].score(column)
    assert f"full fine-tuning (3 seeds): 1,000,400: {score.mean:.2f}" in figure.alt


def test_initial_values_are_at_equal_sizes(drawn):
    (figure,) = named(drawn, "init")
    series = figure.alt.split("adapters 64 (3 seeds): ")[1]
    values = [item.split(": ")[0] for item in series.split(", ")]
    assert values == ["1e-07", "0.0001", "0.01", "0.1"]


def test_examples_are_those_trained_on_and_sizes_those_of_all(drawn):
    (figure,) = named(drawn, "examples")
    assert "adapters 64 (3 seeds): 10: " in figure.alt
    assert "100: " in figure.alt
    assert "best of" not in figure.alt
    assert "LayerNorm" not in figure.alt
