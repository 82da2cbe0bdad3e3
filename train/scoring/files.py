"""Which files are scored, of what format, and whether they have the columns."""

from __future__ import annotations

import dataclasses
import glob
import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from train.scoring.records import FORMATS, Lines

PARQUET = "parquet"
NAMES = (*FORMATS, PARQUET)
_FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": PARQUET,
}
_TABLES = ("csv", "tsv")
_LOOKED_AT = 100  # Records of a JSON file, for its columns.


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file as it was when the work began.

    Attributes:
      path: as the user named it.
      format: one of `NAMES`.
      size: in bytes.
      modified: when, in nanoseconds.
      header: the columns of a table.
      place: where it is, whichever folder a process works in.
    """

    path: str
    format: str
    size: int
    modified: int
    header: tuple[str, ...] | None
    place: str

    def identity(self) -> list[Any]:
        """Returns what tells this file from others, as JSON has it."""
        return [self.path, self.format, self.size, self.modified, self.header]

    def check_unchanged(self) -> None:
        """Raises ValueError if the file is not as it was; OSError if it is not there."""
        found = os.stat(self.place)
        if (found.st_size, found.st_mtime_ns) != (self.size, self.modified):
            raise ValueError(
                f"{self.path} has changed since the work began. Name another --output for what "
                "it holds now"
            )


def find_files(patterns: Sequence[str], file_format: str | None) -> list[InputFile]:
    """Finds the files that paths and patterns name; each once, a pattern's in sorted order.

    Args:
      patterns: paths or patterns as of a shell, `**` among them; several may stand in one,
        with commas between.
      file_format: one of `NAMES`; by default the ends of the files' names tell.

    Raises:
      OSError: a path or pattern names no file, or one that cannot be read.
      ValueError: a file's format cannot be told, or its header is none.
    """
    paths: dict[str, str] = {}
    for pattern in patterns:
        for path in _expand(pattern):
            paths.setdefault(os.path.realpath(path), path)
    return [_look(path, file_format) for path in paths.values()]


def _expand(pattern: str) -> list[str]:
    if os.path.lexists(pattern):
        return [pattern]
    found = sorted(glob.glob(pattern, recursive=True))
    if not found and "," in pattern:
        return [path for part in pattern.split(",") for path in _expand(part)]
    if not found:
        raise FileNotFoundError(f"--input={pattern}: there is no such file")
    return [path for path in found if not (os.path.isdir(path) and "**" in pattern)]


def _look(path: str, file_format: str | None) -> InputFile:
    if os.path.isdir(path):
        raise IsADirectoryError(f"--input={path} is a folder. Name its files, as {path}/*.parquet")
    file_format = file_format or _FORMAT_OF_SUFFIX.get(pathlib.Path(path).suffix.lower())
    if not file_format:
        raise ValueError(
            f"--input={path}: the name must end in one of {', '.join(_FORMAT_OF_SUFFIX)}, or "
            f"--format must be given, one of {', '.join(NAMES)}"
        )
    try:
        found = os.stat(path)
        header = _header(path, file_format) if file_format in _TABLES else None
    except OSError as error:
        raise OSError(f"--input={path} cannot be read: {error.strerror or error}") from error
    return InputFile(
        path, file_format, found.st_size, found.st_mtime_ns, header, os.path.abspath(path)
    )


def _header(path: str, file_format: str) -> tuple[str, ...]:
    """Reads the names of a table's columns: none, of an empty file."""
    with open(path, "rb") as file:
        record = next(FORMATS[file_format](Lines(file)), None)
    if record is None:
        return ()
    if record.fields is None:
        raise ValueError(f"{path}, line {record.line}: the header is malformed: {record.reason}")
    header = tuple(name.strip() for name in record.fields)
    if len(set(header)) != len(header):
        raise ValueError(f"{path}, line {record.line}: a column name is repeated in {header}")
    return header


def check_columns(
    files: Sequence[InputFile], texts: Sequence[str], others: Sequence[str] = ()
) -> None:
    """Raises ValueError where a file lacks a column.

    Of JSON, columns are looked for in the first records: a file of which none has a column
    lacks it.

    Args:
      files: the files.
      texts: names of columns that each file must have; Parquet must hold texts there.
      others: likewise, of any type.
    """
    for file in files:
        columns = _columns(file, texts)
        if columns is None:  # There is nothing in it.
            continue
        for name in (*texts, *others):
            if name not in columns:
                raise ValueError(
                    f"{file.path}: there is no column {name!r}, only {sorted(columns)}. Name the "
                    "columns with --text_columns, --id_columns and --task_column"
                )


def _columns(file: InputFile, texts: Sequence[str]) -> set[str] | None:
    if file.format == PARQUET:
        from train.scoring import parquet  # Needs an extra.

        return parquet.columns(file.path, texts)
    if file.format in _TABLES:
        return set(file.header or ()) or None
    with open(file.path, "rb") as stream:
        first = itertools.islice(FORMATS[file.format](Lines(stream)), _LOOKED_AT)
        objects = [record.fields for record in first if record.fields is not None]
    return {name for each in objects for name in each} or None


def named(
    header: Sequence[str] | None, fields: Sequence[str] | Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns a record's fields by their names.

    Raises:
      ValueError: a table's record has another number of fields than the header.
    """
    if header is None:
        return fields
    if len(fields) != len(header):
        raise ValueError(f"{len(fields)} fields, but the header has {len(header)}")
    return dict(zip(header, fields, strict=True))
