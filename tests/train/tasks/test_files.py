import dataclasses

import pytest

from train.tasks.files import DataFiles
from train.tasks.table import TASKS
from train.tasks.task import check_files


def test_files_are_relative_to_the_folder(tmp_path):
    files = DataFiles(tmp_path, "a.csv", test_file=tmp_path.parent / "c.csv")
    assert files.of("train") == tmp_path / "a.csv"
    assert files.of("dev") is None
    assert files.of("test") == tmp_path.parent / "c.csv"
    assert str(DataFiles(train_file="a.csv").of("train")) == "a.csv"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text_columns": ()}, "--text_columns must name one column, or the two of a pair"),
        ({"text_columns": ("a", "b", "c")}, r"--text_columns .* Received: 'a,b,c'"),
        ({"text_columns": ("a", "")}, "different columns. Received: 'a,' and 'label'"),
        ({"text_columns": ("a", "a")}, "different columns"),
        ({"text_columns": ("label",)}, "--label_column must name different columns"),
        ({"label_column": ""}, "different columns"),
    ],
)
def test_columns_are_checked_when_they_are_named(columns, message):
    with pytest.raises(ValueError, match=message):
        DataFiles(train_file="a.csv", **columns)


def test_check_looks_at_the_disk(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    files = DataFiles(tmp_path, "a.csv", dev_file="b.csv")
    files.check()
    DataFiles().check()
    for change, error, message in [
        ({"data_dir": tmp_path / "gone"}, FileNotFoundError, "--data_dir=.*gone is not a folder"),
        ({"data_dir": tmp_path / "a.csv"}, FileNotFoundError, "a.csv is not a folder"),
        ({"dev_file": "c.csv"}, FileNotFoundError, "--dev_file=.*c.csv: there is no such file"),
        ({"test_file": tmp_path}, FileNotFoundError, "--test_file=.*: there is no such file"),
        ({"dev_file": "a.csv"}, ValueError, "--train_file and --dev_file name the same file"),
        ({"test_file": "link.csv"}, ValueError, "--train_file and --test_file name the same"),
        ({"test_file": "../" + tmp_path.name + "/b.csv"}, ValueError, "leave out --test_file"),
    ]:
        with pytest.raises(error, match=message):
            dataclasses.replace(files, **change).check()


@pytest.mark.parametrize(
    ("task", "files", "message"),
    [
        ("csv", {}, "--task=csv needs --train_file, and only it takes one.* --train_file=None"),
        ("rte", {"train_file": "a.csv"}, "only it takes one.*--task=rte, --train_file=a.csv"),
        ("squad", {"dev_file": "a.csv"}, "--dev_file goes with --task=csv, not squad"),
        ("reuters_r8", {"test_file": "a.csv"}, "--test_file goes with --task=csv"),
        ("reuters_r8", {"text_columns": ("body",)}, "--text_columns goes with --task=csv"),
        ("cola", {"label_column": "y"}, "--label_column goes with --task=csv, not cola"),
    ],
)
def test_only_csv_takes_files(task, files, message):
    with pytest.raises(ValueError, match=message):
        check_files(task, TASKS[task], DataFiles(**files))


def test_files_that_a_task_takes_are_no_error(tmp_path):
    check_files("csv", TASKS["csv"], DataFiles(None, "a.csv", "b.csv", "c.csv", ("x", "y"), "z"))
    check_files("rte", TASKS["rte"], DataFiles(tmp_path))
