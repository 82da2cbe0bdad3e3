import statistics

import pytest

from train.study.evidence import Score, gather
from train.study.rows import width_rows
from train.study.tables import comparisons, results, sizes, tables, variants


@pytest.fixture(scope="module")
def condition(evidence):
    return evidence.conditions[0]


def rows_of(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def runs_with(condition, task, label, **fit):
    return [
        run
        for run in condition.runs
        if (run.task, run.label) == (task, label)
        and all(run.config["fit"][name] == value for name, value in fit.items())
    ]


def test_scores_are_of_what_dev_chose(condition):
    row = rows_of(results(condition))["adapters 64"]
    runs = {
        rate: runs_with(condition, "reuters_r8", "adapters 64", learning_rate=rate)
        for rate in (3e-4, 3e-3)
    }
    chosen = max(runs.values(), key=lambda found: statistics.fmean(run.score() for run in found))
    assert row["reuters_r8, test accuracy"] == Score.of([100 * r.score("test") for r in chosen])
    assert row["mrpc, dev f1"].count == 3
    mean = (row["reuters_r8, test accuracy"].mean + row["mrpc, dev f1"].mean) / 2
    assert row["average"].mean == pytest.approx(mean)


def test_what_all_tasks_take_together(condition):
    """The paper's 9.0x and 1.3x: what is frozen is kept once."""
    rows = rows_of(results(condition))
    heading = "parameters of 2 tasks, × base"
    assert rows["full fine-tuning"][heading] == pytest.approx(2.0, abs=1e-2)
    trained = runs_with(condition, "mrpc", "adapters 64")[0].trained
    assert rows["adapters 64"][heading] == pytest.approx(1 + 2 * trained / 1e6, abs=3e-3)
    assert rows["adapters 64"]["trained, %"] == pytest.approx(100 * trained / (1e6 + 400 + trained))


def test_nothing_stands_where_a_task_is_lacking(tmp_path, write_run):
    write_run(tmp_path / "a", "mrpc", data_dir="x")
    write_run(tmp_path / "b", "rte", data_dir="x", dev=0.625)
    write_run(tmp_path / "c", "rte", data_dir="x", method="full")
    (condition,) = gather([tmp_path]).conditions
    row = rows_of(results(condition))["full fine-tuning"]
    assert list(row.values())[1:-1] == [None, Score(50.0, None, 1), None, None]
    (compared,) = comparisons(condition).rows
    assert compared == ("adapters 64", "rte", 1, Score(12.5, None, 1), None, None)


def test_methods_are_tested_against_full_fine_tuning(condition):
    table = comparisons(condition)
    found = {row[:2]: row[2:] for row in table.rows}
    pairs, difference, t_test, flips = found["adapters 64", "all 2"]
    assert (pairs, difference.count) == (6, 6)
    assert 0 < t_test < 1
    assert flips >= 2 / 2**6
    assert found["adapters 64", "mrpc"][0] == 3
    chosen = rows_of(results(condition))
    first, second = (chosen[name]["mrpc, dev f1"] for name in ("adapters 64", "full fine-tuning"))
    assert found["adapters 64", "mrpc"][1].mean == pytest.approx(first.mean - second.mean)


def test_sizes(condition):
    table = rows_of(sizes(condition))
    assert list(table) == [
        "adapters 8", "adapters 64", "top 1 layer", "top 2 layers", "top 4 layers",
    ]  # fmt: skip
    assert table["top 2 layers"]["trained parameters"] == 400_400
    assert len(width_rows(condition, "adapters")) == 2


def test_variants_are_held_against_default_adapters_of_their_size(condition):
    table = rows_of(variants(condition))
    assert list(table) == [
        "adapters 64, init 0.0001",
        "adapters 64, init 0.1",
        "adapters 64, init 1e-07",
        "adapters 64, parallel, scale 4",
        "adapters 64, relu",
    ]
    relu = runs_with(condition, "reuters_r8", "adapters 64, relu")
    plain = rows_of(results(condition))["adapters 64"]["reuters_r8, test accuracy"]
    mean = 100 * statistics.fmean(run.score("test") for run in relu)
    row = table["adapters 64, relu"]
    assert row["reuters_r8, test accuracy"].mean == pytest.approx(mean)
    found = row["difference, reuters_r8, test accuracy"]
    assert (found.mean, found.count) == (pytest.approx(mean - plain.mean), 3)
    assert row["mean difference"].mean == pytest.approx(found.mean)
    assert (row["mrpc, dev f1"], row["difference, mrpc, dev f1"]) == (None, None)


def test_tables_of_each_number_of_examples(evidence):
    names = [table.name for table in tables(evidence) if table.name.startswith("results")]
    assert names == ["results-minilm_l6-all", "results-minilm_l6-30", "results-minilm_l6-10"]
