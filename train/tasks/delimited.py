"""Any text classification from CSV, TSV or JSON-lines files.

`.csv`: comma-separated with a header row, quoted as in RFC 4180. `.tsv`: tab-separated
with a header row; a quotation mark is text. `.jsonl` or `.json`: one object a line.
All UTF-8, with or without a byte-order mark.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence

from train.tasks.data import Row, TaskData, cut_dev, label_names, to_examples

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")


def read(
    train_file: str | os.PathLike,
    dev_file: str | os.PathLike | None,
    test_file: str | os.PathLike | None,
    text_columns: Sequence[str],
    label_column: str,
) -> TaskData:
    """Reads a task from files; the labels are those that occur in `train_file`.

    Args:
      train_file: the training file.
      dev_file: the dev file; without one, dev is cut from train by `cut_dev`'s rule.
      test_file: the test file, if there is one.
      text_columns: names of one text column, or of the two of a pair.
      label_column: name of the label's column.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: a file's kind is unknown, a column is missing, a row is malformed or
        its label is not among the training file's; the file and line are named.
    """

    def rows(path: str | os.PathLike) -> list[Row]:
        return _read_rows(pathlib.Path(path), tuple(text_columns), label_column)

    train = rows(train_file)
    names = label_names(train)
    if len(names) < 2:
        raise ValueError(
            f"{train_file}: column {label_column!r} must hold at least two different "
            f"labels. Received: {list(names)}"
        )
    if dev_file:
        dev, dev_path = rows(dev_file), dev_file
    else:
        (train, dev), dev_path = cut_dev(train), train_file
    return TaskData(
        label_names=names,
        train=to_examples(train, names, train_file),
        dev=to_examples(dev, names, dev_path),
        test=to_examples(rows(test_file), names, test_file) if test_file else None,
    )


def _read_rows(path: pathlib.Path, text_columns: tuple[str, ...], label_column: str) -> list[Row]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name must end in one of {SUFFIXES}")
    records = _read_json_lines(path) if "json" in path.suffix else _read_table(path)
    rows = []
    for line, record in records:
        for column in (*text_columns, label_column):
            if record.get(column) is None:
                raise ValueError(
                    f"{path}, line {line}: there is no column {column!r}, only {sorted(record)}. "
                    "Name the columns with --text_columns and --label_column"
                )
        texts = tuple(str(record[column]) for column in text_columns)
        label = str(record[label_column]).strip()
        if not label:
            raise ValueError(f"{path}, line {line}: the label in {label_column!r} is empty")
        rows.append(Row(texts, label, line))
    return rows


def _read_table(path: pathlib.Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    csv.field_size_limit(sys.maxsize)
    if path.suffix == ".tsv":
        reader = csv.reader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(_lines(path), strict=True)
    header: list[str] | None = None
    try:
        for fields in reader:
            if header is None:
                header = fields
                if len(set(header)) != len(header):
                    raise ValueError(f"{path}, line 1: a column name is repeated in {header}")
            elif fields:
                if len(fields) != len(header):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: {len(fields)} fields, but the "
                        f"header has {len(header)}: {header}"
                    )
                yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _read_json_lines(path: pathlib.Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: expected an object, got {line.strip()[:80]}")
        yield number, record


def _lines(path: pathlib.Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: not UTF-8: {error}") from error
