"""A part's rows into a file of predictions, and the malformed ones apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from train.scoring.cells import as_json, as_text
from train.scoring.files import InputFile, named
from train.scoring.job import commit
from train.scoring.plan import Part, read
from train.scoring.predictions import WRITERS, answers, json_lines
from train.scoring.records import Record
from train.serving.model import InputError, TextModel, limit_threads


@dataclasses.dataclass(frozen=True)
class Scoring:
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


class Scorer:
    """Scores parts.

    Args:
      scoring: what is to be done.

    Raises:
      OSError: there is no SavedModel.
      ValueError: it cannot be loaded, or has not the task.
    """

    def __init__(self, scoring: Scoring) -> None:
        if scoring.threads:
            limit_threads(scoring.threads)
        self._scoring = scoring
        self._model = TextModel(scoring.saved_model)
        if scoring.task is not None and scoring.task not in self._model.tasks:
            raise ValueError(
                f"--task={scoring.task} is not one of this model, which has "
                f"{', '.join(self._model.tasks[:20])}"
            )

    def score(self, part: Part, progress: Callable[[int], object] = lambda count: None) -> int:
        """Scores the rows of a part and writes what comes of them.

        Args:
          part: the part.
          progress: told the rows that are done since it was told last.

        Returns:
          How many of its rows are malformed.

        Raises:
          OSError: a file cannot be read or written.
          ValueError: a file is damaged or has changed, or the model cannot compute.
        """
        file = self._scoring.files[part.file]
        rows: list[dict[str, Any]] = []
        malformed: list[dict[str, Any]] = []
        count = 0
        for batch in _batches(read(file, part, self._scoring.read_columns), self._batch_size):
            identity = [
                {"file": file.path, "row": part.row + count + index} for index in range(len(batch))
            ]
            for same, record, answer in zip(
                identity, batch, self._answer(file, batch), strict=True
            ):
                if isinstance(answer, str):
                    line = {"line": record.line, "reason": answer, "content": record.content}
                    malformed.append({**same, **line})
                else:
                    rows.append({**same, **answer})
            count += len(batch)
            progress(len(batch))
        if count != part.rows:
            raise ValueError(f"{file.path} has changed since the work began")
        names = ("file", "row", *self._scoring.id_columns)
        write = WRITERS[self._scoring.suffix]
        commit(
            self._scoring.folder,
            part,
            self._scoring.suffix,
            write(rows, names, self._model.form.kind),
            json_lines(malformed),
        )
        return len(malformed)

    @property
    def _batch_size(self) -> int:
        return self._scoring.batch_size

    def _answer(self, file: InputFile, batch: Sequence[Record]) -> list[dict[str, Any] | str]:
        """Returns of each record what is written of it, or why it is malformed."""
        answers: list[dict[str, Any] | str | None] = [None] * len(batch)
        good, texts, ids = [], [], []
        for index, record in enumerate(batch):
            try:
                if record.fields is None:
                    raise ValueError(record.reason)
                fields = named(file.header, record.fields)
                texts.append(self._texts(fields))
                ids.append({name: as_json(fields[name]) for name in self._scoring.id_columns})
                good.append(index)
            except KeyError as error:
                answers[index] = f"{error.args[0]!r} is missing"
                del texts[len(good) :]
            except ValueError as error:
                answers[index] = str(error)
                del texts[len(good) :]
        for index, same, answer in zip(good, ids, self._compute(texts), strict=True):
            answers[index] = answer if isinstance(answer, str) else {**same, **answer}
        return answers

    def _texts(self, fields: Mapping[str, Any]) -> list[str]:
        """Returns what the model is given of a row.

        Raises:
          KeyError: a column is missing.
          ValueError: one holds no text, or the task is unknown.
        """
        form, scoring = self._model.form, self._scoring
        texts = []
        for name, column in zip(form.texts, scoring.text_columns, strict=False):
            if name in form.optional and fields.get(column) is None:
                texts.append("")
            else:
                texts.append(as_text(fields[column], column))
        texts += [""] * (len(form.texts) - len(texts))
        if form.kind == "many":
            task = scoring.task
            if task is None:
                task = as_text(fields[scoring.task_column], scoring.task_column)
            if task not in self._model.tasks:
                raise ValueError(f"{task[:200]!r} is not a task of this model")
            texts.append(task)
        return texts

    def _compute(self, rows: Sequence[Sequence[str]]) -> list[dict[str, Any] | str]:
        """Gives rows to the model, halves of them where it refuses some."""
        if not rows:
            return []
        try:
            outputs = self._model.answer(list(zip(*rows, strict=True)))
        except InputError as error:
            if len(rows) == 1:
                return [str(error)]
            half = len(rows) // 2
            return [*self._compute(rows[:half]), *self._compute(rows[half:])]
        tasks = [row[-1] for row in rows] if self._model.form.kind == "many" else None
        return answers(outputs, self._model.form, tasks)


def _batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    batch = []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
