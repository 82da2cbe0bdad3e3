"""GLUE as gluebenchmark.com offers it, and as TensorFlow Datasets prepares it; both tiny."""

import numpy as np
import pytest

from train.tasks.glue import SPECS

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


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue_data")
    for name, content in DOWNLOAD.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode())
    return folder


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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def downloads(root):
    """What stands in for TensorFlow Datasets' downloads."""
    return Downloads(root)


@pytest.fixture(scope="session")
def download():
    """The content of each of the download's files."""
    return DOWNLOAD


@pytest.fixture(scope="session")
def rows():
    """Returns a split's rows: its texts, then its labels or its ids."""

    def rows(examples, last):
        last = getattr(examples, last)
        last = last.tolist() if isinstance(last, np.ndarray) else last
        return list(zip(*examples.columns, last, strict=True))

    return rows
