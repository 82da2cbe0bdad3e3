import json
import statistics
import xml.etree.ElementTree

import pytest

from train.study.evidence import gather
from train.study.figures import figures
from train.study.rows import method_rows

PNG = b"\x89PNG\r\n\x1a\n"


def named(drawn, start):
    return [figure for figure in drawn.figures if figure.name.startswith(start)]


def test_what_there_are_runs_for_is_drawn(drawn):
    assert [figure.name for figure in drawn.figures] == [
        "relative-minilm_l6-all",
        "parameters-mrpc-minilm_l6-all",
        "parameters-reuters_r8-minilm_l6-all",
        "ablation-1",
        "init-reuters_r8-minilm_l6-all",
        "examples-reuters_r8-minilm_l6",
    ]
    for figure in drawn.figures:
        assert figure.png.startswith(PNG)
        assert xml.etree.ElementTree.fromstring(figure.svg).tag.endswith("svg")
        assert figure.title in figure.alt
        assert figure.caption.endswith(".")


def test_what_is_missing_is_said_with_a_command(drawn):
    (missing,) = drawn.missing
    assert missing.title == "Figure 5 of the paper: F1 on SQuAD by trained parameters"
    assert missing.command.startswith("python -m train.sweep --grid=houlsby_squad")


def test_one_run_gives_no_figure_but_all_commands(tmp_path, write_run):
    write_run(tmp_path / "a run", "csv", train_file="my data.csv")
    drawn = figures(gather([tmp_path]))
    assert not drawn.figures
    commands = [missing.command for missing in drawn.missing]
    assert len(commands) == 6
    files = "python -m train.sweep --tasks=csv '--train_file=my data.csv' --"
    assert sum(command.startswith(files) for command in commands) == 4
    assert f"python -m train.ablate --run='{tmp_path}/a run'" in commands


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


def test_squad_is_figure_5(tmp_path, write_run):
    for size in (2, 8):
        write_run(tmp_path / str(size), "squad", data_dir="x", adapter_size=size)
    drawn = figures(gather([tmp_path]))
    (figure,) = drawn.figures
    assert figure.caption.startswith("Figure 5 of the paper: of one seed each.")
    assert "F1 on SQuAD" not in "".join(missing.title for missing in drawn.missing)


def test_the_same_runs_give_the_same_bytes(tmp_path, write_run):
    for size in (2, 8):
        write_run(tmp_path / str(size), adapter_size=size)
    assert figures(gather([tmp_path])) == figures(gather([tmp_path]))


def ablation(**changes):
    found = {"split": "dev", "metric": "accuracy", "layers": 2, "base_score": 0.9}
    found |= {"scores": [[0, 0, 0.875], [0, 1, 0.5], [1, 1, 0.75]], "majority_score": 0.4}
    return found | changes


def test_a_heatmap_of_each_run_that_has_one(tmp_path, write_run):
    for name, content in (("a", ablation()), ("b", ablation(majority_score=None))):
        write_run(tmp_path / name, adapter_size=ord(name))
        (tmp_path / name / "ablation.json").write_text(json.dumps(content))
    first, second = named(figures(gather([tmp_path])), "ablation")
    assert first.title == "Adapters removed: reuters_r8, adapters 97, seed 0"
    assert "from the lowest: -2.50, -15.00. When all are: -40.00." in first.alt
    assert "With all adapters it is 90.00." in first.caption
    assert "has 40.00: the line in the colour bar" in first.caption
    assert "largest class" not in second.caption


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        json.dumps(ablation(layers=3)),
        json.dumps(ablation(layers="2")),
        json.dumps(ablation(scores=[[0, 0, 0.5]])),
        json.dumps(ablation(base_score=float("nan"))),
        json.dumps(ablation(metric=None)),
    ],
)
def test_a_damaged_ablation_is_named_and_the_rest_is_drawn(tmp_path, write_run, text):
    write_run(tmp_path / "run")
    (tmp_path / "run/ablation.json").write_text(text)
    drawn = figures(gather([tmp_path]))
    (sentence,) = drawn.left_out
    assert str(tmp_path / "run/ablation.json") in sentence
    assert "so it is not drawn" in sentence


def test_equal_scores_can_be_drawn(tmp_path, write_run):
    write_run(tmp_path / "run")
    same = [[i, j, 0.9] for i, j, _ in ablation()["scores"]]
    content = json.dumps(ablation(scores=same, majority_score=None))
    (tmp_path / "run/ablation.json").write_text(content)
    assert len(named(figures(gather([tmp_path])), "ablation")) == 1
