"""The nine tasks of GLUE: their files' columns, and their labels in a fixed order."""

from __future__ import annotations

import dataclasses

_SENTENCE = ("sentence",)
_SENTENCES = ("sentence1", "sentence2")
_INFERENCE = ("entailment", "neutral", "contradiction")


@dataclasses.dataclass(frozen=True)
class Glue:
    """One task of GLUE.

    Args:
      folder: the name of its folder in the download, and of its file in a submission.
      texts: the columns of its files that hold the texts.
      label: the column that holds the label.
      names: the label names, in the order of TensorFlow Datasets; empty for a regression.
      spellings: how the files write them, in the same order; by default as they are.
      features: the texts' names in TensorFlow Datasets; by default the columns'.
      id: the column of its test file that holds the example's id.
      header: the columns of its train and dev files, where these have no header row.
      skips_short_rows: whether rows with too few fields are left out. The published
        training file of QQP holds some, and TensorFlow Datasets leaves them out too.
    """

    folder: str
    texts: tuple[str, ...]
    label: str
    names: tuple[str, ...]
    spellings: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    id: str = "index"
    header: tuple[str, ...] | None = None
    skips_short_rows: bool = False


SPECS = {
    "cola": Glue(
        folder="CoLA",
        texts=_SENTENCE,
        label="label",
        names=("unacceptable", "acceptable"),
        spellings=("0", "1"),
        header=("source", "label", "original label", "sentence"),
    ),
    "sst2": Glue(
        folder="SST-2",
        texts=_SENTENCE,
        label="label",
        names=("negative", "positive"),
        spellings=("0", "1"),
    ),
    "mrpc": Glue(
        folder="MRPC",
        texts=("#1 String", "#2 String"),
        label="Quality",
        names=("not_equivalent", "equivalent"),
        spellings=("0", "1"),
        features=_SENTENCES,
    ),
    "stsb": Glue(folder="STS-B", texts=_SENTENCES, label="score", names=()),
    "qqp": Glue(
        folder="QQP",
        texts=("question1", "question2"),
        label="is_duplicate",
        names=("not_duplicate", "duplicate"),
        spellings=("0", "1"),
        id="id",
        skips_short_rows=True,
    ),
    "mnli": Glue(
        folder="MNLI",
        texts=_SENTENCES,
        label="gold_label",
        names=_INFERENCE,
        features=("premise", "hypothesis"),
    ),
    "qnli": Glue(
        folder="QNLI",
        texts=("question", "sentence"),
        label="label",
        names=("entailment", "not_entailment"),
    ),
    "rte": Glue(
        folder="RTE",
        texts=_SENTENCES,
        label="label",
        names=("entailment", "not_entailment"),
    ),
    "wnli": Glue(
        folder="WNLI",
        texts=_SENTENCES,
        label="label",
        names=("not_entailment", "entailment"),
        spellings=("0", "1"),
    ),
}

# The lowest and the highest similarity of STS-B.
STSB_LIMITS = (0.0, 5.0)


@dataclasses.dataclass(frozen=True)
class Splits:
    """Where a task's splits are, in either source.

    Args:
      train: the training split.
      dev: the dev split.
      further: other labelled splits, by the names that `TaskData.further` gives them.
      unlabelled: test splits, by the names of their files in a submission.
    """

    train: str
    dev: str
    further: dict[str, str]
    unlabelled: dict[str, str]


def file_splits(task: str) -> Splits:
    """Returns the names of a task's files in its folder."""
    if task == "mnli":
        return Splits(
            "train.tsv",
            "dev_matched.tsv",
            {"dev_mismatched": "dev_mismatched.tsv"},
            {"MNLI-m": "test_matched.tsv", "MNLI-mm": "test_mismatched.tsv"},
        )
    return Splits("train.tsv", "dev.tsv", {}, {SPECS[task].folder: "test.tsv"})


def tfds_splits(task: str) -> Splits:
    """Returns the names of a task's splits in TensorFlow Datasets."""
    if task == "mnli":
        return Splits(
            "train",
            "validation_matched",
            {"dev_mismatched": "validation_mismatched"},
            {"MNLI-m": "test_matched", "MNLI-mm": "test_mismatched"},
        )
    return Splits("train", "validation", {}, {SPECS[task].folder: "test"})
