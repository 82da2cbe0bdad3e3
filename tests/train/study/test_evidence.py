import pytest

from train.study.evidence import (
    Column,
    Score,
    columns_of,
    command_line,
    gather,
    is_default,
    points,
)
from train.study.selection import groups
from train.study.tables import tables


def test_a_score_is_the_mean_and_the_deviation_of_a_sample():
    assert Score.of([1.0, 2.0, 4.0]) == Score(pytest.approx(7 / 3), pytest.approx(1.527525), 3)
    assert Score.of([1.0]) == Score(1.0, None, 1)


def test_each_run_counts_once(tmp_path, write_run):
    write_run(tmp_path / "a/run")
    write_run(tmp_path / "a/again")
    write_run(tmp_path / "b/seed", seed=1)
    (tmp_path / "b/begun").mkdir()
    (tmp_path / "b/begun/config.json").write_text('{"task": "mnli"}')
    evidence = gather([tmp_path / "a", tmp_path / "a/run", tmp_path / "b", tmp_path])
    assert [run.path.name for run in evidence.runs] == ["again", "seed"]
    assert list(evidence.left_out) == [
        f"{tmp_path}/b/begun: it has not finished: there is no results.json",
        f"{tmp_path}/a/run: it is the same run as another that is reported",
    ]


def test_nothing_finished_is_an_error_that_says_why(tmp_path):
    with pytest.raises(ValueError, match=f"--runs={tmp_path} holds no finished run of train.run$"):
        gather([tmp_path])
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/config.json").write_text("{")
    with pytest.raises(ValueError, match=r"(?s)no finished run.*left out.*begun: it has not fin"):
        gather([tmp_path])


def test_conditions_are_encoders_and_limits(tmp_path, write_run):
    for number, settings in enumerate(
        ({}, {"max_train_examples": 10}, {"max_train_examples": 20}, {"encoder": "./bert"})
    ):
        write_run(tmp_path / str(number), **settings)
    titles = [condition.title for condition in gather([tmp_path]).conditions]
    assert titles == [
        "./bert, all training examples",
        "minilm_l6, all training examples",
        "minilm_l6, at most 20 training examples",
        "minilm_l6, at most 10 training examples",
    ]


NO_BERT = {
    "kept": {"method": None, "search": {"trials": 50, "seconds": None}, "encoder": None},
    "results": {
        "method": "no_bert",
        "encoder": None,
        "parameters": {"base": 0, "total": 9, "trained": 9, "trained_percent": 100.0},
        "search": {"trials": 50, "seconds": 2.5, "best": {}},
    },
}


def test_runs_without_an_encoder_are_beside_those_of_every_encoder(tmp_path, write_run):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", encoder="./bert")
    for name, limit in (("c", None), ("d", 10)):
        write_run(tmp_path / name, method="full", max_train_examples=limit, **NO_BERT)
    evidence = gather([tmp_path])
    found = {c.title: [run.label for run in c.runs] for c in evidence.conditions}
    assert found == {
        "./bert, all training examples": ["adapters 64", "no BERT"],
        "minilm_l6, all training examples": ["adapters 64", "no BERT"],
        "no encoder, at most 10 training examples": ["no BERT"],
    }
    flags = command_line(evidence.runs[2])
    assert flags[3:6] == ["--task=reuters_r8", "--method=no_bert", "--learning_rate=0.001"]
    assert flags[-1] == "--search_trials=50"
    listed = {table.name: table for table in tables(evidence)}
    assert len(listed["runs"].rows) == 4
    assert "models in a run: 50" in listed["selected"].rows[-1]
    assert listed["selected"].rows[-1][4:9] == (None,) * 5  # It has no learning rate, and so on.


def test_other_examples_or_weights_of_one_name_are_told_apart(tmp_path, write_run):
    write_run(tmp_path / "a", data_dir="x", task="mrpc")
    write_run(tmp_path / "b", data_dir="y", task="mrpc", kept={"data": 123456789012})
    write_run(tmp_path / "c", task="csv", train_file="d/reviews.csv")
    write_run(tmp_path / "d", kept={"encoder": "0123456789abcdef"})
    evidence = gather([tmp_path])
    name, encoder = evidence.task_names(), evidence.encoder_names()
    assert [name(run) for run in evidence.runs] == [
        "mrpc (7)", "mrpc (12345678)", "csv reviews", "reuters_r8",
    ]  # fmt: skip
    assert encoder(evidence.runs[3]) == "minilm_l6 (01234567)"


def test_one_encoder_under_two_names_is_one(tmp_path, write_run):
    write_run(tmp_path / "a", kept={"encoder": "same"})
    write_run(tmp_path / "b", kept={"encoder": "same"}, encoder="./copy", seed=1)
    (condition,) = gather([tmp_path]).conditions
    assert condition.encoder == "minilm_l6"


def test_scores_are_of_test_and_without_one_of_all_splits(tmp_path, write_run):
    write_run(tmp_path / "a", test=0.75)
    mnli = {"metrics": {"dev": {"accuracy": 0.5}, "dev_mismatched": {"accuracy": 0.6}}}
    mnli["examples"] = {"train": 9, "dev": 1, "dev_mismatched": 1}
    write_run(tmp_path / "b", "mnli", data_dir="x", results=mnli)
    first, second = gather([tmp_path]).runs
    assert columns_of(first, "r8") == [Column("r8", "test", "accuracy")]
    assert [column.split for column in columns_of(second, "mnli")] == ["dev", "dev_mismatched"]
    (group,) = groups([first])
    assert points(group, "test") == {0: 75.0}
    assert points(group, "dev_mismatched") == {}


def test_what_is_a_method_and_what_a_variant_of_it(tmp_path, write_run):
    changes = ({}, {"method": "full"}, {"insertion": {"form": "parallel"}})
    changes += ({"insertion": {"init_stddev": 0.1}}, {"train_layer_norm": False})
    changes += ({"init_adapter": "other", "kept": {"init_adapter": "a"}},)
    for number, settings in enumerate(changes):
        write_run(tmp_path / str(number), **settings)
    runs = gather([tmp_path]).runs
    assert [is_default(run) for run in runs] == [True, True, False, False, False, False]
    assert is_default(runs[3], ("init_stddev",))
    assert runs[5].label == "adapters 64, from other"
