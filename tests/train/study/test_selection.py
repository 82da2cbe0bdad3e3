import pytest

from train.study.runs import read_runs
from train.study.selection import best, groups


@pytest.fixture
def runs(tmp_path, write_run):
    """Writes runs from (dev, settings) and reads them."""

    def runs(*rows):
        for number, (dev, settings) in enumerate(rows):
            write_run(tmp_path / f"run{number:02}", dev=dev, **settings)
        return read_runs(tmp_path)[0]

    return runs


def test_runs_that_differ_in_the_seed_are_one_group(runs):
    found = groups(
        runs(
            (0.5, {"seed": 1}),
            (0.7, {"seed": 0}),
            (0.9, {"epochs": 4}),
            (0.9, {"rematerialize": True}),  # The first again.
        )
    )
    assert [group.seeds for group in found] == [(0, 1), (0,)]
    assert found[0].scores() == [0.7, 0.5]
    assert found[0].mean() == pytest.approx(0.6)
    assert found[0].deviation() == pytest.approx(0.02**0.5)
    assert found[1].deviation() is None


def test_the_best_mean_on_dev_is_chosen_whatever_test_says(runs):
    (selected,) = best(
        runs(
            (0.9, {"seed": 0, "test": 0.1}),
            (0.7, {"seed": 1, "test": 0.1}),
            (0.95, {"seed": 0, "learning_rate": 3e-3, "test": 0.9}),
            (0.55, {"seed": 1, "learning_rate": 3e-3, "test": 0.9}),
            (0.5, {"seed": 0, "epochs": 9, "test": 1.0}),
            (0.5, {"seed": 1, "epochs": 9, "test": 1.0}),
        )
    )
    assert selected.chosen.settings["learning_rate"] == 1e-3
    assert [group.mean() for group in selected.tried] == pytest.approx([0.8, 0.75, 0.5])
    assert selected.tried[0] is selected.chosen


def test_only_seeds_in_common_count(runs):
    (selected,) = best(
        runs(
            (0.9, {"seed": 0}),
            (0.5, {"seed": 1}),
            (0.8, {"seed": 0, "learning_rate": 3e-3}),
        )
    )
    assert selected.chosen.seeds == (0, 1)


def test_without_seeds_in_common_all_count(runs):
    (selected,) = best(runs((0.7, {"seed": 0}), (0.8, {"seed": 1, "epochs": 4})))
    assert selected.chosen.seeds == (1,)


def test_what_does_not_compete(runs):
    selected = best(
        runs(
            (0.5, {}),
            (0.6, {"max_train_examples": 10}),
            (0.6, {"task": "reuters_r52"}),
            (0.6, {"method": "full"}),
            (0.6, {"adapter_size": 8}),
            (0.6, {"train_layer_norm": False}),
            (0.6, {"insertion": {"activation": "relu"}}),
            (0.6, {"insertion": {"form": "parallel"}}),
            (0.4, {"learning_rate": 1.0}),
        )
    )
    assert [each.chosen.mean() for each in selected] == [0.5] + 7 * [0.6]
    assert [len(each.tried) for each in selected] == [2] + 7 * [1]


def test_widths_are_chosen_on_request(runs):
    found = runs(
        (0.5, {}),
        (0.7, {"adapter_size": 8}),
        (0.9, {"adapter_size": 8, "insertion": {"activation": "relu"}}),
        (0.6, {"method": "top_layers", "top_layers": 1}),
        (0.8, {"method": "top_layers", "top_layers": 2}),
    )
    selected = best(found, ("adapter_size", "top_layers"))
    assert [each.chosen.first.label for each in selected] == [
        "adapters 8",
        "adapters 8, relu",
        "top 2 layers",
    ]
    assert len(best(found)) == 5
    with pytest.raises(ValueError, match="`across` must be of"):
        best(found, ("epochs",))


def test_equal_scores_are_told_apart_by_the_settings(runs):
    found = runs((0.5, {"epochs": 4}), (0.5, {}), (0.5, {"learning_rate": 3e-3}))
    chosen = {best(order)[0].chosen.first.path for order in (found, found[::-1])}
    assert len(chosen) == 1


def test_a_field_at_its_default_is_as_one_that_is_missing(runs, tmp_path, write_run):
    found = runs((0.5, {}), (0.7, {"seed": 1}))
    stripped = dict(found[1].config["method"]["insertion"])
    del stripped["dropout"]
    found[1].config["method"]["insertion"] = stripped
    assert len(groups(found)) == 1
