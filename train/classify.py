"""Answers texts with an exported SavedModel: `python -m train.classify --saved_model=...`.

It takes the SavedModels of `train.run`, of every kind of task, and with `--task` those of
`train.bundle`. Texts are arguments, or lines of standard input, which are answered as they come.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from absl import flags

from train import command
from train.quiet import quiet_tensorflow
from train.serving.frozen import assume_frozen_weights
from train.serving.signatures import check_folder

FLAGS = flags.FLAGS
_CHUNK = 2**16


def main(argv: Sequence[str]) -> None:
    """Prints a line for each text given as an argument, or line of input.

    Of a classification: the likeliest label, its probability, the text. Of a regression:
    the value, the text. Of questions: the answer, its score, the text. Tabs stand between.
    In a text of two columns, a pair or a question and its context, one does too. What is
    not UTF-8 is printed as it came. Of a bundle, `--task` says which of its tasks is asked.
    """
    texts = [os.fsencode(text) for text in argv[1:]]
    try:
        check_folder(FLAGS.saved_model)
        quiet_tensorflow(FLAGS.tensorflow_log)
        assume_frozen_weights(FLAGS.saved_model)
        answer_all(FLAGS.saved_model, texts, FLAGS.batch_size, FLAGS.task)
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise  # See `train.command`.
        sys.exit(f"error: {error}")


def answer_all(
    folder: str, texts: Sequence[bytes], batch_size: int, task: str | None = None
) -> None:
    """Prints the answers to texts, or to the lines of standard input.

    Args:
      folder: a SavedModel's.
      texts: if there are none, standard input is read.
      batch_size: how many are computed at a time, at most.
      task: which task of a bundle is asked.

    Raises:
      ValueError: there are no texts, one is not what the model takes, or it is no model of
        `train.run`. Answers to earlier texts are printed.
      OSError: the answers cannot be printed.
    """
    if texts:
        unit, batches = "argument", cut(texts, batch_size)
    else:
        unit, batches = "line", read_batches(sys.stdin and sys.stdin.buffer, batch_size)
    model, done = None, 0
    for batch in batches:
        model = model or Classifier(folder, task)
        rows, wrong = model.split(batch)
        for line in model.answer(rows):
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
        done += len(rows)
        if wrong:
            raise ValueError(f"{unit} {done + 1}: {wrong}")
    if not model:
        raise ValueError("give texts as arguments, or one a line on standard input")


def cut(texts: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    """Cuts a list into batches."""
    return (texts[first : first + size] for first in range(0, len(texts), size))


def read_batches(stream: BinaryIO | None, size: int) -> Iterator[Sequence[bytes]]:
    """Reads the lines of a stream in batches, without waiting for one to be full."""
    rest: list[bytes] = []
    while stream and (chunk := stream.read1(_CHUNK)):
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            lines = [b"".join(rest), *others[:-1]]
            rest = [others[-1]]
            yield from cut([line.removesuffix(b"\r") for line in lines], size)
    if last := b"".join(rest):
        yield [last.removesuffix(b"\r")]


class Classifier:
    """A SavedModel of `train.run` or `train.bundle`, from lines to lines.

    Args:
      folder: the SavedModel's.
      task: which task of a bundle is asked; `None` of a model of one task.

    Raises:
      ValueError: it cannot be loaded, is one of something else, or has no such task.
    """

    def __init__(self, folder: str, task: str | None = None) -> None:
        from train.serving.model import TextModel  # Imports TensorFlow.

        self._model, self._task = TextModel(folder), task
        if self._model.form.kind == "many":
            _check_task(folder, task, self._model.tasks)
        elif task is not None:
            raise ValueError(f"--task={task} is for bundles of several tasks; {folder} is none")
        self._columns = self._model.form.texts
        self._optional = self._model.form.optional
        self._format = _FORMATS[self._model.form.kind]

    def split(self, texts: Iterable[bytes]) -> tuple[list[list[bytes]], str | None]:
        """Splits texts into columns, up to the first that has not as many as the model takes.

        Returns:
          The texts, each with its columns behind it; and what is wrong with the next one.
        """
        rows, count = [], len(self._columns)
        for text in texts:
            columns = text.split(b"\t") if count > 1 else [text]
            if len(columns) == 1 and self._optional:
                columns.append(b"")  # Of a bundle's tasks, some take one text.
            if len(columns) != count:
                return rows, (
                    f"this model takes {' and '.join(self._columns)} with one tab between. "
                    f"Received {len(columns) - 1} tabs: {text[:200].decode('utf-8', 'replace')!r}"
                )
            rows.append([text, *columns])
        return rows, None

    def answer(self, rows: Sequence[Sequence[bytes]]) -> list[bytes]:
        """Returns the line to print of each of the rows that `split` returned.

        Raises:
          ValueError: the model cannot compute them.
        """
        if not rows:
            return []
        texts, *columns = zip(*rows, strict=True)
        texts_of = [[text.decode("utf-8", "replace") for text in column] for column in columns]
        if self._task is not None:
            texts_of.append([self._task] * len(rows))
        outputs = self._model.answer(texts_of)
        return [
            b"\t".join([*self._format(outputs, index), text]) for index, text in enumerate(texts)
        ]


def _check_task(folder: str, task: str | None, names: Sequence[str]) -> None:
    if task not in names:
        given = "not given" if task is None else repr(task)
        raise ValueError(
            f"--task must say which task of {folder} is asked: {', '.join(sorted(names)[:20])}"
            f"{', ...' if len(names) > 20 else ''}. Received: {given}"
        )


def _label(outputs: dict[str, Any], index: int) -> list[bytes]:
    return [outputs["label"][index], _number(outputs["probabilities"][index].max())]


def _answer(outputs: dict[str, Any], index: int) -> list[bytes]:
    return [outputs["answer"][index], _number(outputs["score"][index])]


def _value(outputs: dict[str, Any], index: int) -> list[bytes]:
    return [_number(outputs["value"][index])]


def _of_any_task(outputs: dict[str, Any], index: int) -> list[bytes]:
    return (_label if outputs["label"][index] else _value)(outputs, index)


_FORMATS: dict[str, Callable[[dict[str, Any], int], list[bytes]]] = {
    "classification": _label,
    "spans": _answer,
    "regression": _value,
    "many": _of_any_task,
}


def _number(value: float) -> bytes:
    return f"{value:.3f}".encode()


if __name__ == "__main__":
    # Here alone, for `train.run` has a flag of the same name.
    flags.DEFINE_string("saved_model", None, "The saved_model folder of a run or a bundle.")
    flags.DEFINE_string("task", None, "Of a bundle: which of its tasks is asked.")
    flags.DEFINE_integer("batch_size", 32, "Texts that are computed at a time.", lower_bound=1)
    flags.mark_flag_as_required("saved_model")
    command.run(main)
