"""A part's rows into a file of predictions, and the malformed ones apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from train.scoring.cells import as_json, as_text
from train.scoring.files import InputFile, named
from train.scoring.job import commit
from train.scoring.plan import Part, read
from train.scoring.predictions import WRITERS, answers, json_lines
from train.scoring.records import Record
from train.scoring.work import Work
from train.serving.model import InputError, TextModel, limit_threads

_WINDOW = 16  # Batches that are read at a time, and sorted by length.


class Scorer:
    """Scores parts.

    Args:
      work: what is to be done.

    Raises:
      OSError: there is no SavedModel.
      ValueError: it cannot be loaded, or has not the task.
    """

    def __init__(self, work: Work) -> None:
        if work.threads:
            limit_threads(work.threads)
        self._work = work
        self._model = TextModel(work.saved_model)
        if work.task is not None and work.task not in self._model.tasks:
            raise ValueError(
                f"--task={work.task} is not one of this model, which has "
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
        file = self._work.files[part.file]
        rows: list[dict[str, Any]] = []
        malformed: list[dict[str, Any]] = []
        count = 0
        records = read(file, part, self._work.read_columns)
        for window in _batches(records, _WINDOW * self._work.batch_size):
            identity = [
                {"file": file.path, "row": part.row + count + index} for index in range(len(window))
            ]
            for same, record, answer in zip(
                identity, window, self._answer(file, window, progress), strict=True
            ):
                if isinstance(answer, str):
                    line = {"line": record.line, "reason": answer, "content": record.content}
                    malformed.append({**same, **line})
                else:
                    rows.append({**same, **answer})
            count += len(window)
        if count != part.rows:
            raise ValueError(f"{file.path} has changed since the work began")
        names = ("file", "row", *self._work.id_columns)
        write = WRITERS[self._work.suffix]
        commit(
            self._work.folder,
            part,
            self._work.suffix,
            write(rows, names, self._model.form.kind),
            json_lines(malformed),
        )
        return len(malformed)

    def _answer(
        self, file: InputFile, records: Sequence[Record], progress: Callable[[int], object]
    ) -> list[dict[str, Any] | str]:
        """Returns of each record what is written of it, or why it is malformed."""
        answers: list[dict[str, Any] | str | None] = [None] * len(records)
        good, texts, ids = [], [], []
        for index, record in enumerate(records):
            try:
                if record.fields is None:
                    raise ValueError(record.reason)
                fields = named(file.header, record.fields)
                texts.append(self._texts(fields))
                ids.append({name: as_json(fields[name]) for name in self._work.id_columns})
                good.append(index)
            except KeyError as error:
                answers[index] = f"{error.args[0]!r} is missing"
                del texts[len(good) :]
            except ValueError as error:
                answers[index] = str(error)
                del texts[len(good) :]
        progress(len(records) - len(good))
        # Texts of like length together, for a batch is padded to its longest.
        by_length = sorted(range(len(texts)), key=lambda index: sum(map(len, texts[index])))
        for batch in _batches(by_length, self._work.batch_size):
            computed = self._compute([texts[index] for index in batch])
            for index, answer in zip(batch, computed, strict=True):
                own = answer if isinstance(answer, str) else {**ids[index], **answer}
                answers[good[index]] = own
            progress(len(batch))
        return answers

    def _texts(self, fields: Mapping[str, Any]) -> list[str]:
        """Returns what the model is given of a row.

        Raises:
          KeyError: a column is missing.
          ValueError: one holds no text, or the task is unknown.
        """
        form, work = self._model.form, self._work
        texts = []
        for name, column in zip(form.texts, work.text_columns, strict=False):
            if name in form.optional and fields.get(column) is None:
                texts.append("")
            else:
                texts.append(as_text(fields[column], column))
        texts += [""] * (len(form.texts) - len(texts))
        if form.kind == "many":
            task = work.task
            if task is None:
                task = as_text(fields[work.task_column], work.task_column)
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


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
