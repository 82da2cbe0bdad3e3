"""A task: where its examples come from, what it asks of a model, and how that is scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from train.tasks.data import TaskData
from train.tasks.files import DataFiles
from train.tasks.forms import Form
from train.tasks.recipes import Recipe
from train.tasks.squad import SquadData


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Args:
      read: reads the examples from the files that the user names. It raises `OSError` or
        `ValueError` where they are not there or are not the task's.
      form: what the task asks of a model.
      metrics: names of `train.objectives.text.metrics.METRICS`, or of
        `train.objectives.spans.evaluate`; the first is the main one.
      needs_files: whether the user names the files with flags.
      recipe: what it is trained with by default, if that is known.
      verified: whether the reader has been run on the published files themselves, not
        only on rows written in their layout.
    """

    read: Callable[[DataFiles], TaskData | SquadData]
    form: Form
    metrics: tuple[str, ...]
    needs_files: bool = False
    recipe: Recipe | None = None
    verified: bool = False

    def recipe_for(self, encoder: str) -> Recipe | None:
        """Returns the recipe, if there is one for an encoder of this name."""
        fits = self.recipe and self.recipe.encoder in (None, encoder)
        return self.recipe if fits else None


def check_files(name: str, task: Task, files: DataFiles) -> None:
    """Checks that the files named are those that a task takes; looks at no disk.

    Args:
      name: the task's, for errors.
      task: its row of the table.
      files: what the user names.

    Raises:
      ValueError: a file that the task needs is not named, or one that it does not take is.
    """
    if task.needs_files != bool(files.train_file):
        raise ValueError(
            "--task=csv needs --train_file, and only it takes one. "
            f"Received: --task={name}, --train_file={files.train_file}"
        )
    if not files.train_file:
        for flag in ("dev_file", "test_file", "text_columns", "label_column"):
            if getattr(files, flag) != getattr(DataFiles, flag):
                raise ValueError(f"--{flag} goes with --task=csv, not {name}")
