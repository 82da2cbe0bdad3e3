"""Any text classification from CSV, TSV or JSON-lines files.

`.csv`: comma-separated with a header row, quoted as in RFC 4180. `.tsv`: tab-separated
with a header row; a quotation mark is text. `.jsonl` or `.json`: one object a line, whose
texts and labels are strings, whole numbers or booleans. All UTF-8, with or without a
byte-order mark; blank lines are skipped.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Mapping

from train.tasks.data import Row, TaskData, cut_dev, label_names, to_examples
from train.tasks.files import SPLITS, DataFiles
from train.tasks.tables import quoted, read_lines, tab_separated, with_header

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")


def read(files: DataFiles) -> TaskData:
    """Reads a task from files; the labels are those that occur in the training file.

    Args:
      files: names a training file; without a dev file, dev is cut from it by `cut_dev`'s
        rule, and the test file may be missing. Their columns are given there too.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file's kind is unknown, a column is missing, a row is malformed or
        its label is not among the training file's; the file and line are named. Or a
        file holds no rows, or the training file too few to cut dev from or only one label.
    """

    def rows(path: pathlib.Path) -> list[Row]:
        return _read_rows(path, tuple(files.text_columns), files.label_column)

    train_file, dev_file, test_file = (files.of(split) for split in SPLITS)
    train = rows(train_file)
    names = label_names(train, train_file)
    if dev_file:
        dev, dev_path = rows(dev_file), dev_file
    else:
        (train, dev), dev_path = cut_dev(train), train_file
        if not (train and dev):
            raise ValueError(
                f"{train_file}: {len(train + dev)} examples are too few to cut a dev split "
                "from. Give more, or name a --dev_file"
            )
    return TaskData(
        label_names=names,
        train=to_examples(train, names, train_file),
        dev=to_examples(dev, names, dev_path),
        test=to_examples(rows(test_file), names, test_file) if test_file else None,
        origin=train_file,
    )


def _read_rows(path: pathlib.Path, text_columns: tuple[str, ...], label_column: str) -> list[Row]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")
    if "json" in suffix:
        records = _read_json_lines(path)
    elif suffix == ".tsv":
        records = with_header(tab_separated(read_lines(path)), path)
    else:
        records = with_header(quoted(read_lines(path), path), path)
    rows = []
    for line, record in records:
        for column in (*text_columns, label_column):
            if column not in record:
                raise ValueError(
                    f"{path}, line {line}: there is no column {column!r}, only {sorted(record)}. "
                    "Name the columns with --text_columns and --label_column"
                )
        *texts, label = (
            _to_text(record[column], f"{path}, line {line}: {column!r}")
            for column in (*text_columns, label_column)
        )
        label = label.strip()
        if not label:
            raise ValueError(f"{path}, line {line}: the label in {label_column!r} is empty")
        rows.append(Row(tuple(texts), label, line))
    if not rows:
        raise ValueError(f"{path} holds no examples")
    return rows


def _to_text(value: object, where: str) -> str:
    if isinstance(value, int):  # Or bool. Spelt as in JSON: 1, true.
        value = json.dumps(value)
    if not isinstance(value, str):
        raise ValueError(
            f"{where} must be a string, a whole number or a boolean. Received: {value!r}"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell one: "\ud83d".
        raise ValueError(f"{where} holds half of a surrogate pair: {error}") from error
    return value


def _read_json_lines(path: pathlib.Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: not JSON, of which each line must be an object: {error}"
            ) from error
        if not isinstance(record, dict):
            raise ValueError(
                f"{path}, line {number}: each line must be a JSON object. "
                f"Received: {line.strip()[:80]}"
            )
        yield number, record
