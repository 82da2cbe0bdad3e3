"""Which files the user names: all that readers are told of a run."""

from __future__ import annotations

import dataclasses
import os
import pathlib

SPLITS = ("train", "dev", "test")


@dataclasses.dataclass(frozen=True)
class DataFiles:
    """Where a task's examples are.

    Args:
      data_dir: the folder of the task's files; those below are relative to it. A path, as text
        or not; it is kept as text.
      train_file, dev_file, test_file: likewise, files of a task that is read from any files.
      text_columns: the columns of these files that hold the texts: one, or the two of a pair.
      label_column: the column that holds the label.

    Raises:
      ValueError: a path is none, or the columns are not one or two texts and a label, all
        different. The text names the flag.
    """

    data_dir: str | None = None
    train_file: str | None = None
    dev_file: str | None = None
    test_file: str | None = None
    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"

    def __post_init__(self) -> None:
        for name in ("data_dir", *(f"{split}_file" for split in SPLITS)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str | os.PathLike):
                raise ValueError(f"--{name} must be a path. Received: {value!r}")
            # As text and tuples, so that equal settings compare equal after JSON too.
            object.__setattr__(self, name, os.fspath(value) if value else None)
        if not isinstance(self.text_columns, list | tuple) or not all(
            isinstance(name, str) for name in (*self.text_columns, self.label_column)
        ):
            raise ValueError(
                "--text_columns and --label_column must be names. "
                f"Received: {self.text_columns!r} and {self.label_column!r}"
            )
        object.__setattr__(self, "text_columns", tuple(self.text_columns))
        if not 1 <= len(self.text_columns) <= 2:
            raise ValueError(
                "--text_columns must name one column, or the two of a pair. "
                f"Received: {','.join(self.text_columns)!r}"
            )
        columns = (*self.text_columns, self.label_column)
        if len(set(columns)) < len(columns) or not all(columns):
            raise ValueError(
                "--text_columns and --label_column must name different columns. "
                f"Received: {','.join(self.text_columns)!r} and {self.label_column!r}"
            )

    def of(self, split: str) -> pathlib.Path | None:
        """Returns the path of the file named for `train`, `dev` or `test`, if there is one."""
        name = getattr(self, f"{split}_file")
        return pathlib.Path(self.data_dir or "", name) if name else None

    def check(self) -> None:
        """Looks whether what is named is there.

        Raises:
          FileNotFoundError: `data_dir` is not a folder, or a file is not there.
          ValueError: two flags name one file.
        """
        if self.data_dir and not pathlib.Path(self.data_dir).is_dir():
            raise FileNotFoundError(f"--data_dir={self.data_dir} is not a folder")
        flag_of: dict[pathlib.Path, str] = {}
        for split in SPLITS:
            path, name = self.of(split), f"{split}_file"
            if not path:
                continue
            if not path.is_file():
                raise FileNotFoundError(f"--{name}={path}: there is no such file")
            first = flag_of.setdefault(path.resolve(), name)
            if first != name:
                raise ValueError(
                    f"--{first} and --{name} name the same file, {path}. Name another, or leave "
                    f"out --{name}"
                )
