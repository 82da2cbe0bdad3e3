import pytest

from train.study.evidence import Score, gather
from train.study.rows import average, by_seed, method_rows, times_base, width_rows
from train.study.selection import groups
from train.study.tables import results


def test_rows_are_the_methods_in_the_papers_order(evidence):
    condition = evidence.conditions[0]
    assert [row.label for row in method_rows(condition)] == [
        "full fine-tuning",
        "adapters, best of 8, 64",
        "adapters 64",
        "top layers, best of 1, 2, 4",
        "feature-based",
        "LayerNorm only",
    ]
    labels = [row.label for row in width_rows(condition, "top_layers")]
    assert labels == ["top 1 layer", "top 2 layers", "top 4 layers"]


def test_a_size_is_chosen_on_dev_for_each_task(evidence):
    condition = evidence.conditions[0]
    best = method_rows(condition)[1]
    for task in condition.tasks:
        sizes = [row.group(task) for row in width_rows(condition, "adapters")]
        assert best.group(task).mean() == max(group.mean() for group in sizes)


def test_runs_can_be_kept_out(evidence):
    rows = method_rows(evidence.conditions[0], lambda run: run.label == "adapters 8")
    assert [row.label for row in rows] == ["adapters 8"]


def test_averages_over_tasks():
    found = average([{0: 1.0, 1: 3.0}, {0: 5.0, 1: 7.0, 2: 9.0}])
    assert found == Score(pytest.approx((2 + 7) / 2), pytest.approx(2**0.5), 2)
    assert average([{0: 1.0}, {1: 3.0}]) == Score(2.0, None, 0)
    assert by_seed([{0: 1.0, 1: 2.0}, {1: 4.0}]) == {1: 3.0}


def test_a_run_without_an_encoder_has_no_multiple(tmp_path, write_run):
    counts = {"total": 10, "trained": 10, "trained_percent": 100.0}
    write_run(tmp_path / "a", method="full", results={"method": "no_bert", "parameters": counts})
    (condition,) = gather([tmp_path]).conditions
    assert times_base(groups(condition.runs)) is None
    (row,) = method_rows(condition)
    assert row.label == "no BERT"
    (of_results,) = results(condition).rows
    assert of_results[2] is None
