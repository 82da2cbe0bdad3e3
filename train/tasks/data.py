"""A task's examples in memory, and the rules that cut a split where none is published."""

from __future__ import annotations

import dataclasses
import math
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

Data = TypeVar("Data")

_DEV_SHARE = 20
_TENTHS = 10


@dataclasses.dataclass(frozen=True)
class Row:
    """One example as read: its texts, its label's name, and where it stood.

    Args:
      texts: one text, or the two of a pair.
      label: the label's name, or a value as written; empty in a split without labels.
      line: 1-based line in the file, for errors.
      id: the id that the file gives the example, if it gives one.
    """

    texts: tuple[str, ...]
    label: str
    line: int
    id: str | None = None


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split.

    Args:
      columns: one list of texts per text column, all of one length.
      labels: `<int32>[examples]`, indices into the task's label names; of a regression
        `<float32>[examples]`, the values; `None` if the split is published without labels.
      ids: the examples' ids as published, where a file gives them.
    """

    columns: tuple[list[str], ...]
    labels: np.ndarray | None
    ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    def sample(self, count: int, seed: int) -> Examples:
        """Returns `count` of the examples, drawn by `seed`, or all if there are fewer."""
        if count >= len(self):
            return self
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False)
        columns = tuple([column[index] for index in chosen] for column in self.columns)
        labels = None if self.labels is None else self.labels[chosen]
        ids = None if self.ids is None else tuple(self.ids[index] for index in chosen)
        return Examples(columns, labels, ids)


@dataclasses.dataclass(frozen=True)
class TaskData:
    """Everything an experiment needs of a task.

    Args:
      label_names: names of the classes; a label is an index into them. Empty for a
        regression.
      train: what is trained on.
      dev: what is evaluated while training.
      test: what is evaluated once, at the end; `None` if there is none with labels.
      further: other labelled splits that are evaluated once, by their names.
      unlabelled: test splits published without labels, to be predicted, by the names of
        their files in a submission. They are empty until `with_unlabelled` reads them.
      unlabelled_readers: what reads them, by the same names.
      origin: where `train` is from, for errors. A reader names it, and then `train` must
        be of two classes; a sample that is drawn later need not.

    Raises:
      ValueError: all training examples are of one class.
    """

    label_names: tuple[str, ...]
    train: Examples
    dev: Examples
    test: Examples | None = None
    further: Mapping[str, Examples] = dataclasses.field(default_factory=dict)
    unlabelled: Mapping[str, Examples] = dataclasses.field(default_factory=dict)
    unlabelled_readers: Mapping[str, Callable[[], Examples]] = dataclasses.field(
        default_factory=dict
    )
    origin: dataclasses.InitVar[object] = None

    def __post_init__(self, origin: object) -> None:
        if origin is not None and self.label_names:
            classes = np.unique(self.train.labels)
            _check_classes([self.label_names[index] for index in classes], origin)

    def with_unlabelled(self) -> TaskData:
        """Returns the same with the splits that are published without labels, read.

        Raises:
          OSError: a file cannot be read.
          ValueError: there is no such split, or its file is malformed.
        """
        if not self.unlabelled_readers:
            raise ValueError(
                "--predict_test: the task has no test split without labels here. Leave out the "
                "flag, or put the file of that split beside the others"
            )
        read = {name: reader() for name, reader in self.unlabelled_readers.items()}
        return dataclasses.replace(self, unlabelled=read)

    def labelled(self) -> dict[str, Examples]:
        """Returns the splits that are evaluated, by their names; `dev` is the first."""
        splits = {"dev": self.dev, "test": self.test, **self.further}
        return {name: split for name, split in splits.items() if split is not None}

    def fingerprint(self) -> int:
        """Returns the CRC-32 of all labelled texts and labels, to tell changed files by."""
        named = {"train": self.train, "dev": self.dev, "test": self.test}
        digest = zlib.crc32("\0".join(self.label_names).encode())
        for name, split in (named | {**self.further}).items():
            if split is None:
                continue
            digest = zlib.crc32(name.encode(), digest)
            for column in split.columns:
                digest = zlib.crc32("\0".join(column).encode(), digest)
            if split.labels is not None:
                digest = zlib.crc32(split.labels.tobytes(), digest)
        return digest


def sample_train(data: Data, count: int | None, seed: int) -> Data:
    """Returns a task's examples with no more than `count` to train on, drawn by `seed`.

    Args:
      data: a dataclass whose `train` can be sampled; a `TaskData` or the like.
      count: how many; `None` is all.
      seed: the run's.
    """
    if count is None:
        return data
    return dataclasses.replace(data, train=data.train.sample(count, seed))


def cut_dev(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Splits train rows into train and dev: about one in twenty goes to dev.

    The text alone decides (CRC-32 of it, modulo 20), so the cut does not depend on the
    order of the rows, and repeated texts stay on one side.
    """
    train: list[Row] = []
    dev: list[Row] = []
    for row in rows:
        (dev if _checksum(row) % _DEV_SHARE == 0 else train).append(row)
    return train, dev


def cut_whole(rows: Sequence[Row], path: os.PathLike) -> TaskData:
    """Returns a classification that is published in one piece, cut by `cut_dev_and_test`.

    Args:
      rows: of the file.
      path: the file, for errors.

    Raises:
      ValueError: there are too few rows, or all of one class.
    """
    names = label_names(rows, path)
    train, dev, test = (to_examples(part, names, path) for part in cut_dev_and_test(rows))
    return TaskData(label_names=names, train=train, dev=dev, test=test, origin=path)


def cut_dev_and_test(rows: Sequence[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    """Splits rows into train, dev and test, about 80, 10 and 10 percent as in the paper.

    The paper's own cuts (section 3.3) were drawn at random and are not published. Here, as
    in `cut_dev`, the text alone decides: CRC-32 modulo 10; 0 is test and 1 is dev.
    """
    train: list[Row] = []
    dev: list[Row] = []
    test: list[Row] = []
    side_of = {0: test, 1: dev}
    for row in rows:
        side_of.get(_checksum(row) % _TENTHS, train).append(row)
    return train, dev, test


def _checksum(row: Row) -> int:
    return zlib.crc32("\0".join(row.texts).encode())


def label_names(rows: Iterable[Row], path: object) -> tuple[str, ...]:
    """Returns the sorted names of the labels that occur in the rows to train on.

    Args:
      rows: all of a file.
      path: the file, for errors.

    Raises:
      ValueError: all rows have one label.
    """
    names = tuple(sorted({row.label for row in rows}))
    _check_classes(names, path)
    return names


def to_examples(rows: Sequence[Row], names: Sequence[str], path: object) -> Examples:
    """Turns rows into a split of a classification.

    Args:
      rows: at least one.
      names: the task's label names.
      path: the file that the rows are from, for errors.

    Raises:
      ValueError: there is no row, or a row's label is not among `names`.
    """
    index_of = {name: index for index, name in enumerate(names)}
    for row in rows:
        if row.label not in index_of:
            raise ValueError(
                f"{path}, line {row.line}: the label {row.label!r} is not one of the "
                f"task's, which are {sorted(index_of)}"
            )
    return _split(rows, np.array([index_of[row.label] for row in rows], np.int32), path)


def to_values(rows: Sequence[Row], limits: tuple[float, float], path: object) -> Examples:
    """Turns rows into a split of a regression; `limits` are the lowest and highest value.

    Raises:
      ValueError: there is no row, or a row's label is no number within `limits`.
    """
    low, high = limits
    values = []
    for row in rows:
        try:
            value = float(row.label)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(
                f"{path}, line {row.line}: the value must be a number from {low:g} to "
                f"{high:g}. Received: {row.label!r}"
            )
        values.append(value)
    return _split(rows, np.array(values, np.float32), path)


def to_unlabelled(rows: Sequence[Row], path: object) -> Examples:
    """Turns rows into a split without labels.

    Raises:
      ValueError: there is no row.
    """
    return _split(rows, None, path)


def _check_classes(names: Sequence[str], origin: object) -> None:
    if len(names) == 1:
        raise ValueError(
            f"{origin}: the training examples must have at least two different labels. "
            f"Received: {list(names)}"
        )


def _split(rows: Sequence[Row], labels: np.ndarray | None, path: object) -> Examples:
    if not rows:
        raise ValueError(f"{path} has no rows left for this split; give it more examples")
    columns = tuple(list(column) for column in zip(*(row.texts for row in rows), strict=True))
    ids = tuple(row.id for row in rows if row.id is not None)
    return Examples(columns, labels, ids if len(ids) == len(rows) else None)
