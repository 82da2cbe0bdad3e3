import shutil

import numpy as np
import pytest

from train.tasks import glue
from train.tasks.files import DataFiles
from train.tasks.forms import Regression
from train.tasks.glue import SPECS
from train.tasks.table import TASKS

# Texts, label.
TRAIN = {
    "cola": [('He said "no.', 1), ('Said he " no.', 0), ("é ü", 1)],
    "sst2": [("hide new secretions ", 0), ("that loves its ", 1)],
    "mrpc": [('He " said', "said", 1), ("x", "y", 0)],
    "stsb": [("a", "b", 5.0), ("c", "", 2.5)],
    "qqp": [("How?", "Why?", 0), ("Who?", "Whom?", 1)],
    "mnli": [("a", "b", 2), ("c", "d", 0), ("e", "f", 1)],
    "qnli": [("When?", "Then.", 1), ("Where?", "Here.", 0)],
    "rte": [("a", "b", 0), ("c", "d", 1)],
    "wnli": [("a", "b", 1), ("c", "d", 0)],
}
UNLABELLED = {
    "cola": {"CoLA": [("Bill left.", "0"), ("Left Bill.", "1")]},
    "sst2": {"SST-2": [("uneasy mishmash", "0"), ("by the end", "1")]},
    "mrpc": {"MRPC": [("one", "two", "0"), ("three", "four", "1")]},
    "stsb": {"STS-B": [("g", "h", "0")]},
    "qqp": {"QQP": [("C?", "D?", "0"), ("E?", "F?", "1")]},
    "mnli": {
        "MNLI-m": [("k", "l", "0"), ("m", "n", "1")],
        "MNLI-mm": [("o", "p", "0")],
        "AX": [("The cat sat.", "The cat did not sit.", "0")],
    },
    "qnli": {"QNLI": [("Who?", "I.", "0")]},
    "rte": {"RTE": [("g", "h", "0")]},
    "wnli": {"WNLI": [("g", "h", "0")]},
}


MSR = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"


@pytest.fixture
def write(tmp_path):
    def write(**files):
        for name, content in files.items():
            path = tmp_path / "RTE" / name.replace("_tsv", ".tsv")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def test_every_task_of_glue_is_a_task():
    assert list(SPECS) == list(TRAIN) == list(TASKS)[:9]
    for name, spec in SPECS.items():
        assert TASKS[name].form.columns == len(spec.texts) == len(spec.features or spec.texts)
        assert len(spec.spellings or spec.names) == len(spec.names)
    assert {name for name in SPECS if isinstance(TASKS[name].form, Regression)} == {"stsb"}


@pytest.mark.parametrize("name", TRAIN)
def test_the_download_is_read(root, rows, name):
    data = TASKS[name].read(DataFiles(root)).with_unlabelled()
    assert rows(data.train, "labels") == TRAIN[name]
    assert {key: rows(split, "ids") for key, split in data.unlabelled.items()} == UNLABELLED[name]
    assert data.train.labels.dtype == data.dev.labels.dtype
    assert data.train.labels.dtype == (np.float32 if name == "stsb" else np.int32)
    assert data.train.ids is None
    assert all(split.labels is None for split in data.unlabelled.values())
    assert data.test is None


def test_dev_splits(root, rows):
    assert rows(glue.read("mrpc", root).dev, "labels") == [("no", "yes", 0)]
    data = glue.read("mnli", root)
    assert rows(data.dev, "labels") == [("g", "h", 0)]
    assert list(data.further) == ["dev_mismatched"]
    assert rows(data.further["dev_mismatched"], "labels") == [("i", "j", 1)]


@pytest.mark.parametrize("name", ["rte", "mrpc", "mnli"])
def test_the_tasks_own_folder_will_do(root, rows, name):
    data = glue.read(name, root / SPECS[name].folder).with_unlabelled()
    assert rows(data.train, "labels") == TRAIN[name]
    assert list(data.unlabelled) == list(UNLABELLED[name])


def test_mrpc_as_glues_script_writes_it(tmp_path, rows):
    (tmp_path / "train.tsv").write_text("\ufeff" + MSR + "1\t7\t8\ta\tb\n0\t9\t8\tg\th\n")
    (tmp_path / "dev.tsv").write_text(MSR + "0\t7\t8\tc\td\n")
    (tmp_path / "test.tsv").write_text("index\t#1 ID\t#2 ID\t#1 String\t#2 String\n5\t1\t2\te\tf\n")
    data = glue.read("mrpc", tmp_path).with_unlabelled()
    assert rows(data.train, "labels") == [("a", "b", 1), ("g", "h", 0)]
    assert rows(data.dev, "labels") == [("c", "d", 0)]
    assert rows(data.unlabelled["MRPC"], "ids") == [("e", "f", "5")]


def test_mrpc_without_its_dev_ids_cuts_dev_and_says_so(tmp_path, caplog):
    lines = [f"{number % 2}\t{number}\t0\ttext {number}\tb\n" for number in range(100)]
    (tmp_path / "msr_paraphrase_train.txt").write_text(MSR + "".join(lines))
    data = glue.read("mrpc", tmp_path)
    assert len(data.train) + len(data.dev) == 100
    assert 0 < len(data.dev) < 20
    assert data.unlabelled_readers == {}
    assert "dev_ids.tsv is missing" in caplog.text


def test_short_rows_of_qqp_are_left_out_and_told(root, caplog):
    glue.read("qqp", root)
    assert "train.tsv: 1 rows with too few fields are left out, the first in line 3" in caplog.text


def test_test_files_may_be_missing(write, download):
    good = download["RTE/train.tsv"]
    data = glue.read("rte", write(train_tsv=good, dev_tsv=good))
    with pytest.raises(ValueError, match="--predict_test: the task has no test split without"):
        data.with_unlabelled()


HEADER = "index\tsentence1\tsentence2\tlabel\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "0\ta\tb\tentailment\n1\tc\td\n", "line 3: 3 fields, but the header has 4"),
        (HEADER + "0\ta\tb\tc\tentailment\n", "line 2: 5 fields, but the header has 4"),
        (HEADER + "0\ta\tb\tneutral\n", "line 2: the label 'neutral' .*'entailment', 'not_ent"),
        (HEADER + "0\ta\tb\t\n", "line 2: the label ''"),
        ("index\tsentence1\tlabel\n0\ta\tentailment\n", r"no columns \['sentence2'\]"),
        (HEADER.encode() + b"0\t\xe9\tb\tentailment\n", "line 2: not UTF-8"),
        (HEADER, "has no rows"),
        ("", "has no rows"),
        ("label\tlabel\n", "line 1: a column name is repeated"),
    ],
)
def test_a_file_of_another_form_is_an_error(write, download, content, message):
    data_dir = write(train_tsv=content, dev_tsv=download["RTE/dev.tsv"])
    with pytest.raises(ValueError, match=rf"RTE[/\\]train.tsv\b.*{message}"):
        glue.read("rte", data_dir)


@pytest.mark.parametrize("value", ["", "high", "nan", "5.1", "-0.1"])
def test_a_similarity_out_of_range_is_an_error(tmp_path, value):
    header = "index\tsentence1\tsentence2\tscore\n"
    (tmp_path / "train.tsv").write_text(header + f"0\ta\tb\t5\n1\tc\td\t{value}\n")
    with pytest.raises(ValueError, match=f"line 3: .* from 0 to 5. Received: '{value}'"):
        glue.read("stsb", tmp_path)


def test_another_tasks_folder_is_an_error(root):
    with pytest.raises(ValueError, match=r"train.tsv, line 1: the label 'sentence1'"):
        glue.read("cola", root / "RTE")


def test_a_missing_split_is_an_error(write, download):
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv: there is no such file.*--data_dir"):
        glue.read("rte", write(train_tsv=download["RTE/train.tsv"]))


ONE_CLASS = HEADER + "0\ta\tb\tentailment\n1\tc\td\tentailment\n"


def test_one_class_is_not_enough_to_train_on_but_to_evaluate(write, download):
    good = download["RTE/train.tsv"]
    assert len(glue.read("rte", write(train_tsv=good, dev_tsv=ONE_CLASS)).dev) == 2
    message = r"train\.tsv: .* two different labels\. Received: \['entailment'\]"
    with pytest.raises(ValueError, match=message):
        glue.read("rte", write(train_tsv=ONE_CLASS, dev_tsv=good))


def test_dev_ids_that_leave_one_class_or_none_are_an_error(tmp_path):
    lines = [f"{int(number > 1)}\t{number}\t0\ttext {number}\tb\n" for number in range(5)]
    (tmp_path / "msr_paraphrase_train.txt").write_text(MSR + "".join(lines))
    (tmp_path / "dev_ids.tsv").write_text("0\t0\n1\t0\n")
    with pytest.raises(ValueError, match=r"train\.txt: .*two different labels.*\['equivalent'\]"):
        glue.read("mrpc", tmp_path)
    (tmp_path / "dev_ids.tsv").write_text("7\t0\n")
    with pytest.raises(ValueError, match=r"dev_ids\.tsv must list some of the 5 pairs of .* 0 of"):
        glue.read("mrpc", tmp_path)


def test_a_regression_may_have_one_value(tmp_path):
    for split in ("train", "dev"):
        text = "index\tgenre\tsentence1\tsentence2\tscore\n0\tn\ta\tb\t5\n"
        (tmp_path / f"{split}.tsv").write_text(text)
    assert glue.read("stsb", tmp_path).train.labels.tolist() == [5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("index\tsentence1\n0\ta\n", "no columns"),
        (b"\xff\xfe", "line 1: not UTF-8"),
    ],
)
def test_a_test_file_is_read_only_when_it_is_asked_for(write, download, content, message):
    good = download["RTE/train.tsv"]
    data = glue.read("rte", write(train_tsv=good, dev_tsv=good, test_tsv=content))
    assert data.unlabelled == {}
    before = data.fingerprint()
    with pytest.raises(ValueError, match=rf"test\.tsv\b.*{message}"):
        data.with_unlabelled()
    write(test_tsv=download["RTE/test.tsv"])
    read = data.with_unlabelled()
    assert read.unlabelled["RTE"].ids == ("0",)
    assert read.fingerprint() == before


def test_a_malformed_diagnostic_set_stops_nothing_but_predictions(root, tmp_path):
    shutil.copytree(root / "MNLI", tmp_path / "MNLI")
    (tmp_path / "diagnostic.tsv").write_text("no\tcolumns\n0\t0\n")
    data = glue.read("mnli", tmp_path)
    with pytest.raises(ValueError, match=r"diagnostic\.tsv"):
        data.with_unlabelled()
