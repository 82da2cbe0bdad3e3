"""The figure of adapters removed, by way of the figures that it is one of."""

import json

import pytest

from train.study.evidence import gather
from train.study.figures import figures


def heatmaps(folder):
    drawn = figures(gather([folder]))
    return [figure for figure in drawn.figures if figure.name.startswith("ablation")]


def ablation(**changes):
    found = {"split": "dev", "metric": "accuracy", "layers": 2, "base_score": 0.9}
    found |= {"scores": [[0, 0, 0.875], [0, 1, 0.5], [1, 1, 0.75]], "majority_score": 0.4}
    return found | changes


def test_a_heatmap_of_each_run_that_has_one(tmp_path, write_run):
    for name, content in (("a", ablation()), ("b", ablation(majority_score=None))):
        write_run(tmp_path / name, adapter_size=ord(name))
        (tmp_path / name / "ablation.json").write_text(json.dumps(content))
    first, second = heatmaps(tmp_path)
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
    assert len(heatmaps(tmp_path)) == 1
