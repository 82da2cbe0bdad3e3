"""Rows of text tables, with the lines at which they start."""

from __future__ import annotations

import codecs
import csv
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence

Fields = Iterator[tuple[int, list[str]]]


def read_lines(path: pathlib.Path, encodings: Sequence[str] = ("utf-8",)) -> Iterator[str]:
    """Yields a file's lines with their ends, without a byte-order mark.

    Args:
      path: the file.
      encodings: each line is read as the first of these that it fits.

    Raises:
      ValueError: a line fits none; the text names it.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            yield _decode(line, encodings, f"{path}, line {number}")


def _decode(line: bytes, encodings: Sequence[str], where: str) -> str:
    for encoding in encodings:
        try:
            return line.decode(encoding)
        except UnicodeDecodeError as error:
            reason = error
    raise ValueError(f"{where}: not {encodings[-1].upper()}, save it as that: {reason}")


def tab_separated(lines: Iterable[str]) -> Fields:
    """Yields fields between tabs; a quotation mark is text, and blank lines are skipped."""
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r\n")
        if line:
            yield number, line.split("\t")


def quoted(lines: Iterable[str], path: pathlib.Path, separator: str = ",") -> Fields:
    """Yields fields quoted as in RFC 4180; blank lines are skipped.

    Args:
      lines: the file's, with their ends.
      path: the file, for errors.
      separator: the character between fields.

    Raises:
      ValueError: the quoting is wrong; the text names `path` and the row's line.
    """
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {line}: {error} (a quotation mark left open, or a lone carriage return?)"
        ) from error


def with_header(rows: Fields, path: pathlib.Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields rows as mappings from the names in the first row.

    Raises:
      ValueError: a name is repeated, or a row has another number of fields.
    """
    for line, header in rows:
        header = [name.strip() for name in header]
        if len(set(header)) != len(header):
            raise ValueError(f"{path}, line {line}: a column name is repeated in {header}")
        yield from named(rows, header, path)


def named(
    rows: Fields, header: Sequence[str], path: pathlib.Path
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields rows as mappings from the names in `header`.

    Raises:
      ValueError: a row has another number of fields.
    """
    for line, fields in rows:
        if len(fields) != len(header):
            raise ValueError(
                f"{path}, line {line}: {len(fields)} fields, but the header has "
                f"{len(header)}: {list(header)}"
            )
        yield line, dict(zip(header, fields, strict=True))
