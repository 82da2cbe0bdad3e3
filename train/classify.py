"""Answers texts with an exported SavedModel: `python -m train.classify --saved_model=...`.

It takes the SavedModels of `train.run`, of every kind of task. Texts are arguments, or lines
of standard input, which are answered as they come.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from absl import flags

from train import command
from train.quiet import quiet_tensorflow
from train.serving.signatures import check_folder

FLAGS = flags.FLAGS
_CHUNK = 2**16


def main(argv: Sequence[str]) -> None:
    """Prints a line for each text given as an argument, or line of input.

    Of a classification: the likeliest label, its probability, the text. Of a regression:
    the value, the text. Of questions: the answer, its score, the text. Tabs stand between.
    In a text of two columns, a pair or a question and its context, one does too. What is
    not UTF-8 is printed as it came.
    """
    texts = [os.fsencode(text) for text in argv[1:]]
    try:
        check_folder(FLAGS.saved_model)
        quiet_tensorflow(FLAGS.tensorflow_log)
        answer_all(FLAGS.saved_model, texts, FLAGS.batch_size)
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise  # See `train.command`.
        sys.exit(f"error: {error}")


def answer_all(folder: str, texts: Sequence[bytes], batch_size: int) -> None:
    """Prints the answers to texts, or to the lines of standard input.

    Args:
      folder: a SavedModel's.
      texts: if there are none, standard input is read.
      batch_size: how many are computed at a time, at most.

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
        model = model or Classifier(folder)
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
    """A SavedModel of `train.run`, from lines to lines.

    Args:
      folder: the SavedModel's.

    Raises:
      ValueError: it cannot be loaded, or is one of something else.
    """

    def __init__(self, folder: str) -> None:
        from train.serving.model import TextModel  # Imports TensorFlow.

        self._model = TextModel(folder)
        self._columns = self._model.form.columns
        self._format = _FORMATS[self._model.form.kind]

    def split(self, texts: Iterable[bytes]) -> tuple[list[list[bytes]], str | None]:
        """Splits texts into columns, up to the first that has not as many as the model takes.

        Returns:
          The texts, each with its columns behind it; and what is wrong with the next one.
        """
        rows, count = [], len(self._columns)
        for text in texts:
            columns = text.split(b"\t") if count > 1 else [text]
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
        outputs = self._model.answer(
            [[text.decode("utf-8", "replace") for text in column] for column in columns]
        )
        return [
            b"\t".join([*self._format(outputs, index), text]) for index, text in enumerate(texts)
        ]


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
    flags.DEFINE_string("saved_model", None, "A run's saved_model folder.")
    flags.DEFINE_integer("batch_size", 32, "Texts that are computed at a time.", lower_bound=1)
    flags.mark_flag_as_required("saved_model")
    command.run(main)
