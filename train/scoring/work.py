"""What is to be done with all parts alike."""

from __future__ import annotations

import dataclasses

from train.scoring.files import InputFile


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be done, the same for all parts.

    Attributes:
      saved_model: the SavedModel's folder.
      folder: the job's.
      files: what is scored.
      text_columns: columns of the files, one for each of the model's texts, or fewer, where
        the last may be missing.
      id_columns: columns that are copied.
      task: for a model of many tasks, the name of the task of all rows;
      task_column: or the column that holds it.
      suffix: `jsonl` or `parquet`, the form of the predictions.
      batch_size: how many rows the model is given at a time, at most.
      threads: how many the model computes on; None: as TensorFlow likes.
    """

    saved_model: str
    folder: str
    files: tuple[InputFile, ...]
    text_columns: tuple[str, ...]
    id_columns: tuple[str, ...] = ()
    task: str | None = None
    task_column: str | None = None
    suffix: str = "jsonl"
    batch_size: int = 32
    threads: int | None = None

    @property
    def read_columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        names = (*self.text_columns, self.task_column, *self.id_columns)
        return tuple(dict.fromkeys(name for name in names if name))
