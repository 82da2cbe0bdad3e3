"""Records of text files from any record's first byte on, the malformed ones with the reason.

`csv`: comma-separated, quoted as in RFC 4180; a quoted field may hold line ends. `tsv`: tab-
separated; a quotation mark is text. `jsonl`: one object a line. UTF-8, with or without a
byte-order mark; lines end in LF or CRLF; blank lines are skipped.

A file is read twice: once to find where its parts begin, then part by part. Both times by
these functions, so that both see the same records.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

# Bytes: a record that is longer is malformed, or a stray quotation mark would take a file
# into memory.
LONGEST = 2**24
_SHOWN = 1000  # Characters of a malformed record that are kept.


@dataclasses.dataclass(frozen=True)
class Record:
    """A record, or what stands in its place.

    Attributes:
      line: the line at which it begins, from 1; None where a format has no lines.
      fields: of a table, its fields in order; of JSON, an object.
      reason: why it is malformed; `fields` is None then, and `content` what stands there.
    """

    line: int | None
    fields: Sequence[str] | Mapping[str, Any] | None
    reason: str | None = None
    content: str | None = None

    def shown(self) -> str:
        """Returns the beginning of what stands in the file."""
        if self.content is not None:
            return self.content
        return json.dumps(self.fields, default=repr, ensure_ascii=False)[:_SHOWN]


class Lines:
    """The lines of a file, with the place where reading stands.

    Args:
      file: opened in binary mode; it can be sought.
      offset: the byte to begin at, a line's first.
      number: that line's number, from 1.

    Attributes:
      offset, number: those of the next line.
    """

    def __init__(self, file: BinaryIO, offset: int = 0, number: int = 1) -> None:
        self._file = file
        self.go_to(offset, number)

    def go_to(self, offset: int, number: int) -> None:
        """Lets a line that begins at `offset` be the next."""
        self._file.seek(offset)
        self.offset, self.number = offset, number

    def read(self) -> bytes:
        """Returns the next line with its end; nothing at the file's end.

        Of a line longer than `LONGEST` the beginning is returned, by one byte too long.
        """
        line = rest = self._file.readline(LONGEST + 1)
        self.offset += len(line)
        self.number += 1
        while rest and not rest.endswith(b"\n"):
            rest = self._file.readline(LONGEST + 1)
            self.offset += len(rest)
        if self.offset == len(line):  # The file's first.
            line = line.removeprefix(codecs.BOM_UTF8)
        return line


def comma_separated(lines: Lines) -> Iterator[Record]:
    """Yields the records of a csv file.

    Where the quoting is wrong, the line at which the record began is malformed, and reading
    goes on with the line behind it: a stray quotation mark costs one line.
    """
    csv.field_size_limit(sys.maxsize)
    feed = _Feed(lines)
    reader = csv.reader(feed, strict=True)
    while True:
        feed.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, OverflowError) as error:
            lines.go_to(*feed.second)
            yield _malformed(feed.line, feed.first, f"{error}: a quotation mark left open?")
            reader = csv.reader(feed, strict=True)
            continue
        if not feed.is_utf8:
            yield _malformed(feed.line, feed.first, "not UTF-8")
        elif fields:
            yield Record(feed.line, fields)


class _Feed:
    """The lines that a csv reader asks for to read one record.

    Attributes:
      line: where the record begins.
      first: the record's first line.
      second: offset and number of the line behind that.
      is_utf8: whether all of them are.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def begin(self) -> None:
        self.line, self.first, self.is_utf8, self._size = self._lines.number, None, True, 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._lines.read()
        if not line:
            raise StopIteration
        if self.first is None:
            self.first, self.second = line, (self._lines.offset, self._lines.number)
        self._size += len(line)
        if self._size > LONGEST:
            raise csv.Error(f"longer than {LONGEST} bytes")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            self.is_utf8 = False
            return line.decode("utf-8", "surrogateescape")


def tab_separated(lines: Lines) -> Iterator[Record]:
    """Yields the records of a tsv file."""
    return _one_a_line(lines, lambda line: line.rstrip("\r\n").split("\t"))


def json_lines(lines: Lines) -> Iterator[Record]:
    """Yields the records of a file with one JSON object a line."""
    return _one_a_line(lines, _parse_object)


def _parse_object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _one_a_line(
    lines: Lines, parse: Callable[[str], Sequence[str] | Mapping[str, Any]]
) -> Iterator[Record]:
    while True:
        number, line = lines.number, lines.read()
        if not line:
            return
        if len(line) > LONGEST:
            yield _malformed(number, line, f"longer than {LONGEST} bytes")
        elif line.strip(b"\r\n" if parse is not _parse_object else None):
            try:
                yield Record(number, parse(line.decode("utf-8")))
            except UnicodeDecodeError:
                yield _malformed(number, line, "not UTF-8")
            except ValueError as error:
                yield _malformed(number, line, str(error))


def _malformed(line: int, content: bytes, reason: str) -> Record:
    shown = content[: 4 * _SHOWN].decode("utf-8", "backslashreplace").rstrip("\r\n")
    return Record(line, None, reason, shown[:_SHOWN])


FORMATS: Mapping[str, Callable[[Lines], Iterator[Record]]] = {
    "csv": comma_separated,
    "tsv": tab_separated,
    "jsonl": json_lines,
}
