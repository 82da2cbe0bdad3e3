"""A task's examples in memory, and the rule that cuts a dev split from train."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

_DEV_SHARE = 20


@dataclasses.dataclass(frozen=True)
class Row:
    """One example as read: its texts, its label's name, and where it stood.

    Args:
      texts: one text, or the two of a pair.
      label: the label's name.
      line: 1-based line in the file, for errors.
    """

    texts: tuple[str, ...]
    label: str
    line: int


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split.

    Args:
      columns: one list of texts per text column, all of one length.
      labels: `<int32>[examples]`, indices into the task's label names.
    """

    columns: tuple[list[str], ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, count: int, seed: int) -> Examples:
        """Returns `count` of the examples, drawn by `seed`, or all if there are fewer."""
        if count >= len(self):
            return self
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False)
        columns = tuple([column[index] for index in chosen] for column in self.columns)
        return Examples(columns, self.labels[chosen])


@dataclasses.dataclass(frozen=True)
class TaskData:
    """Everything an experiment needs of a task.

    Args:
      label_names: names of the classes; a label is an index into them.
      train: what is trained on.
      dev: what is evaluated while training.
      test: what is evaluated once, at the end; `None` if there is none.
    """

    label_names: tuple[str, ...]
    train: Examples
    dev: Examples
    test: Examples | None


def cut_dev(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Splits train rows into train and dev: about one in twenty goes to dev.

    The text alone decides (CRC-32 of it, modulo 20), so the cut does not depend on the
    order of the rows, and repeated texts stay on one side.
    """
    train: list[Row] = []
    dev: list[Row] = []
    for row in rows:
        digest = zlib.crc32("\0".join(row.texts).encode())
        (dev if digest % _DEV_SHARE == 0 else train).append(row)
    return train, dev


def label_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Returns the sorted names of the labels that occur."""
    return tuple(sorted({row.label for row in rows}))


def to_examples(rows: Sequence[Row], names: Sequence[str], path: object) -> Examples:
    """Turns rows into a split.

    Args:
      rows: at least one.
      names: the task's label names.
      path: the file that the rows are from, for errors.

    Raises:
      ValueError: there is no row, or a row's label is not among `names`.
    """
    if not rows:
        raise ValueError(f"{path} has no rows left for this split; give it more examples")
    index_of = {name: index for index, name in enumerate(names)}
    for row in rows:
        if row.label not in index_of:
            raise ValueError(
                f"{path}, line {row.line}: the label {row.label!r} does not occur in the "
                f"training file, whose labels are {sorted(index_of)}"
            )
    columns = tuple(list(column) for column in zip(*(row.texts for row in rows), strict=True))
    return Examples(columns, np.array([index_of[row.label] for row in rows], np.int32))
