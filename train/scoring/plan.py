"""Cuts files into parts: rows that are scored, and written, together or not at all."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

from train.scoring.files import PARQUET, InputFile
from train.scoring.records import FORMATS, Lines, Record


@dataclasses.dataclass(frozen=True)
class Part:
    """Some rows of one file.

    Attributes:
      number: the part's, from 0, in the order of the files and of their rows.
      file: the file's index in the list of files.
      row: its first row, from 0.
      rows: how many, the malformed ones among them.
      offset: the first row's first byte; 0 of Parquet.
      line: that byte's line, from 1.
    """

    number: int
    file: int
    row: int
    rows: int
    offset: int = 0
    line: int = 1


def cut(files: Sequence[InputFile], rows: int, progress: Callable[[int], object]) -> Iterator[Part]:
    """Yields the parts of files.

    Args:
      files: the files.
      rows: of a part, at most.
      progress: told the bytes that have been read since it was told last.

    Raises:
      OSError: a file cannot be read.
      ValueError: a file is damaged.
    """
    number = 0
    for index, file in enumerate(files):
        for part in _cut_file(file, rows, progress):
            yield dataclasses.replace(part, number=number, file=index)
            number += 1


def _cut_file(file: InputFile, rows: int, progress: Callable[[int], object]) -> Iterator[Part]:
    if file.format == PARQUET:
        from train.scoring import parquet  # Needs an extra.

        count = parquet.count(file.path)
        for first in range(0, count, rows):
            yield Part(0, 0, first, min(rows, count - first))
        progress(file.size)
        return
    with open(file.place, "rb") as stream:
        lines = Lines(stream)
        records = FORMATS[file.format](lines)
        if file.header is not None:
            next(records, None)
        progress(lines.offset)
        first = done = 0
        offset, line = lines.offset, lines.number
        for done, _ in enumerate(records, start=1):
            if done - first == rows:
                yield Part(0, 0, first, rows, offset, line)
                progress(lines.offset - offset)
                first, offset, line = done, lines.offset, lines.number
        if done > first:
            yield Part(0, 0, first, done - first, offset, line)
        progress(lines.offset - offset)


def read(file: InputFile, part: Part, names: Sequence[str]) -> Iterator[Record]:
    """Yields the rows of a part.

    Args:
      file: the part's file.
      part: the part.
      names: the columns that are needed.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is damaged, or has changed since it was cut.
    """
    file.check_unchanged()
    if file.format == PARQUET:
        from train.scoring import parquet  # Needs an extra.

        yield from parquet.read(file.place, part.row, part.rows, names)
        return
    with open(file.place, "rb") as stream:
        records = FORMATS[file.format](Lines(stream, part.offset, part.line))
        yield from itertools.islice(records, part.rows)
