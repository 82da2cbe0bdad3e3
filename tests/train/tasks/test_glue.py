import io
import urllib.error
import urllib.request

import numpy as np
import pytest

from train.tasks import glue
from train.tasks.files import DataFiles
from train.tasks.forms import Regression
from train.tasks.glue import SPECS, tfds
from train.tasks.table import TASKS

INFERENCE = "index\tpromptID\tsentence1\tsentence2\tlabel1\tlabel2\tgold_label\n"
INFERENCE_TEST = "index\tpromptID\tsentence1\tsentence2\n"
MSR = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"

# The files of a download, in the layouts as published, with few rows and all their traps:
# quotation marks that are text, a byte-order mark, Windows' line ends, an empty text.
DOWNLOAD = {
    "CoLA/train.tsv": 'gj04\t1\t\tHe said "no.\ngj04\t0\t*\tSaid he " no.\nbc01\t1\t\té ü\n',
    "CoLA/dev.tsv": "gj04\t1\t\tSailors rode.\n",
    "CoLA/test.tsv": "index\tsentence\n0\tBill left.\n1\tLeft Bill.\n",
    "SST-2/train.tsv": "sentence\tlabel\nhide new secretions \t0\nthat loves its \t1\n",
    "SST-2/dev.tsv": "sentence\tlabel\r\nunflinchingly bleak\t0\r\na charming journey\t1\r\n\r\n",
    "SST-2/test.tsv": "index\tsentence\n0\tuneasy mishmash\n1\tby the end\n",
    "MRPC/msr_paraphrase_train.txt": "\ufeff" + MSR + '1\t7\t8\tHe " said\tsaid\n'
    "0\t5\t6\tno\tyes\n0\t3\t4\tx\ty\n",
    "MRPC/msr_paraphrase_test.txt": "\ufeff"
    + MSR
    + "1\t10\t11\tone\ttwo\n0\t12\t13\tthree\tfour\n",
    "MRPC/dev_ids.tsv": "5\t6\n",
    "STS-B/train.tsv": "index\tgenre\tsentence1\tsentence2\tscore\n"
    "0\tnews\ta\tb\t5.000\n1\tnews\tc\t\t2.5\n",
    "STS-B/dev.tsv": "index\tgenre\tsentence1\tsentence2\tscore\n0\tnews\te\tf\t0.000\n",
    "STS-B/test.tsv": "index\tgenre\tsentence1\tsentence2\n0\tnews\tg\th\n",
    # The middle row is cut short, as some of the published file are.
    "QQP/train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    "133273\t1\t2\tHow?\tWhy?\t0\n402555\t3\t4\tWhat?\n360472\t5\t6\tWho?\tWhom?\t1\n",
    "QQP/dev.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n201359\t7\t8\tA?\tB?\t1\n",
    "QQP/test.tsv": "id\tquestion1\tquestion2\n0\tC?\tD?\n1\tE?\tF?\n",
    "MNLI/train.tsv": INFERENCE + "0\tp\ta\tb\tneutral\tentailment\tcontradiction\n"
    "1\tp\tc\td\tneutral\tneutral\tentailment\n2\tp\te\tf\tneutral\tneutral\tneutral\n",
    "MNLI/dev_matched.tsv": INFERENCE + "0\tp\tg\th\tneutral\tneutral\tentailment\n",
    "MNLI/dev_mismatched.tsv": INFERENCE + "0\tp\ti\tj\tneutral\tneutral\tneutral\n",
    "MNLI/test_matched.tsv": INFERENCE_TEST + "0\tp\tk\tl\n1\tp\tm\tn\n",
    "MNLI/test_mismatched.tsv": INFERENCE_TEST + "0\tp\to\tp\n",
    "AX/diagnostic.tsv": "index\tsentence1\tsentence2\n0\tThe cat sat.\tThe cat did not sit.\n",
    "QNLI/train.tsv": "index\tquestion\tsentence\tlabel\n0\tWhen?\tThen.\tnot_entailment\n"
    "1\tWhere?\tHere.\tentailment\n",
    "QNLI/dev.tsv": "index\tquestion\tsentence\tlabel\n0\tWhy?\tSo.\tentailment\n",
    "QNLI/test.tsv": "index\tquestion\tsentence\n0\tWho?\tI.\n",
    "RTE/train.tsv": "index\tsentence1\tsentence2\tlabel\n"
    "0\ta\tb\tentailment\n1\tc\td\tnot_entailment\n",
    "RTE/dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\te\tf\tnot_entailment\n",
    "RTE/test.tsv": "index\tsentence1\tsentence2\n0\tg\th\n",
    "WNLI/train.tsv": "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n1\tc\td\t0\n",
    "WNLI/dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\te\tf\t0\n",
    "WNLI/test.tsv": "index\tsentence1\tsentence2\n0\tg\th\n",
}
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


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue_data")
    for name, content in DOWNLOAD.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode())
    return folder


@pytest.fixture
def write(tmp_path):
    def write(**files):
        for name, content in files.items():
            path = tmp_path / "RTE" / name.replace("_tsv", ".tsv")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def rows(examples, last):
    last = getattr(examples, last)
    last = last.tolist() if isinstance(last, np.ndarray) else last
    return list(zip(*examples.columns, last, strict=True))


def test_every_task_of_glue_is_a_task():
    assert list(SPECS) == list(TRAIN) == list(TASKS)[:9]
    for name, spec in SPECS.items():
        assert TASKS[name].form.columns == len(spec.texts) == len(spec.features or spec.texts)
        assert len(spec.spellings or spec.names) == len(spec.names)
    assert {name for name in SPECS if isinstance(TASKS[name].form, Regression)} == {"stsb"}


@pytest.mark.parametrize("name", TRAIN)
def test_the_download_is_read(root, name):
    data = TASKS[name].read(DataFiles(root)).with_unlabelled()
    assert rows(data.train, "labels") == TRAIN[name]
    assert {key: rows(split, "ids") for key, split in data.unlabelled.items()} == UNLABELLED[name]
    assert data.train.labels.dtype == data.dev.labels.dtype
    assert data.train.labels.dtype == (np.float32 if name == "stsb" else np.int32)
    assert data.train.ids is None
    assert all(split.labels is None for split in data.unlabelled.values())
    assert data.test is None


def test_dev_splits(root):
    assert rows(glue.read("mrpc", root).dev, "labels") == [("no", "yes", 0)]
    data = glue.read("mnli", root)
    assert rows(data.dev, "labels") == [("g", "h", 0)]
    assert list(data.further) == ["dev_mismatched"]
    assert rows(data.further["dev_mismatched"], "labels") == [("i", "j", 1)]


@pytest.mark.parametrize("name", ["rte", "mrpc", "mnli"])
def test_the_tasks_own_folder_will_do(root, name):
    data = glue.read(name, root / SPECS[name].folder).with_unlabelled()
    assert rows(data.train, "labels") == TRAIN[name]
    assert list(data.unlabelled) == list(UNLABELLED[name])


def test_mrpc_as_glues_script_writes_it(tmp_path):
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


def test_test_files_may_be_missing(write):
    good = DOWNLOAD["RTE/train.tsv"]
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
def test_a_file_of_another_form_is_an_error(write, content, message):
    data_dir = write(train_tsv=content, dev_tsv=DOWNLOAD["RTE/dev.tsv"])
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


def test_a_missing_split_is_an_error(write):
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv: there is no such file.*--data_dir"):
        glue.read("rte", write(train_tsv=DOWNLOAD["RTE/train.tsv"]))


@pytest.mark.parametrize("data_dir", [None, "empty"])
def test_no_data_and_no_network_says_both_ways_to_get_it(tmp_path, monkeypatch, data_dir):
    def fail(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
    (tmp_path / "empty").mkdir()
    where = tmp_path / data_dir if data_dir else None
    message = (
        rf"--task=mrpc: .*{data_dir or 'default'}.*no route.*gluebenchmark.com.*holds MRPC/ with "
        "--data_dir; or .*glue/mrpc.*--data_dir"
    )
    with pytest.raises(FileNotFoundError, match=message):
        glue.read("mrpc", where)


class Downloads:
    """What TensorFlow Datasets takes for its download manager; the files are there already."""

    downloaded_size = 0

    def __init__(self, root):
        self._root = root

    def download(self, what):
        if isinstance(what, str):
            return self._root / "AX" / "diagnostic.tsv"
        names = {"dev_ids": "dev_ids.tsv"}
        names |= {split: f"msr_paraphrase_{split}.txt" for split in ("train", "test")}
        return {key: self._root / "MRPC" / names[key] for key in what}

    def download_and_extract(self, what):
        return self._root

    def __getattr__(self, name):
        return 0


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    """The same files, read and written by TensorFlow Datasets' own code for GLUE."""
    from tensorflow_datasets.text import glue as theirs

    class Glue(theirs.Glue, skip_registration=True):
        def _make_download_manager(self, **_):
            return Downloads(root)

    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    for config in (*SPECS, "ax"):
        Glue(config=config, data_dir=folder).download_and_prepare()
    return folder


@pytest.mark.parametrize("name", SPECS)
def test_both_sources_give_the_same_examples(root, prepared, name):
    expected, data = (glue.read(name, place).with_unlabelled() for place in (root, prepared))
    assert data.label_names == expected.label_names
    for split in ("train", "dev"):
        assert same(getattr(data, split), getattr(expected, split))
    for kind in ("further", "unlabelled"):
        splits, others = getattr(data, kind), getattr(expected, kind)
        assert list(splits) == list(others)
        assert all(same(splits[key], others[key]) for key in splits)


def same(one, other):
    labels, others = (split.labels for split in (one, other))
    if labels is None or others is None:
        return labels is others and one.columns == other.columns and one.ids == other.ids
    return rows(one, "labels") == rows(other, "labels") and labels.dtype == others.dtype


def test_label_names_are_those_of_tensorflow_datasets(prepared):
    import tensorflow_datasets

    for name, spec in SPECS.items():
        builder = tensorflow_datasets.builder_from_directory(tfds.find(name, prepared))
        label = builder.info.features["label"]
        assert tuple(getattr(label, "names", ())) == spec.names


def test_data_is_found_where_tensorflow_datasets_keeps_it(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert rows(glue.read("rte", None).train, "labels") == TRAIN["rte"]


def test_what_is_nowhere_is_downloaded_where_there_is_a_network(root, tmp_path, monkeypatch):
    from tensorflow_datasets.text import glue as theirs

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO())
    monkeypatch.setattr(theirs.Glue, "_make_download_manager", lambda self, **_: Downloads(root))
    assert rows(glue.read("rte", tmp_path).train, "labels") == TRAIN["rte"]
    assert tfds.find("rte", tmp_path)


def test_the_newest_prepared_version_is_found(tmp_path):
    for version in ("1.0.1", "10.0.0", "9.0.0", "incomplete.X_11.0.0"):
        (tmp_path / "glue" / "rte" / version).mkdir(parents=True)
        (tmp_path / "glue" / "rte" / version / "dataset_info.json").touch()
    (tmp_path / "glue" / "rte" / "12.0.0").mkdir()
    assert tfds.find("rte", tmp_path).name == "10.0.0"
    assert tfds.find("mnli", tmp_path) is None
