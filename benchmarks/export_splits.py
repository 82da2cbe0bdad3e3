"""Writes a task's splits as JSON lines, for programs that do not import this project.

    python -m benchmarks.export_splits --task=reuters_r8 --output=splits/reuters_r8

The folder gets `train.jsonl`, `dev.jsonl` and `test.jsonl` as `train.run` cuts them. Each line
is an object with the keys `text` and `label`, the label's name.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags

from train.tasks.data import Examples
from train.tasks.files import DataFiles
from train.tasks.forms import Classification
from train.tasks.table import TASKS

FLAGS = flags.FLAGS

_SINGLE = sorted(name for name, task in TASKS.items() if task.form == Classification())

flags.DEFINE_enum("task", "reuters_r8", _SINGLE, "Task of train.run, a classification of texts.")
flags.DEFINE_string("data_dir", None, "Folder with the task's files, unless a package has them.")
flags.DEFINE_string("output", None, "Folder to write; it is made.", required=True)


def main(argv: Sequence[str]) -> None:
    """Writes a file for each split that has labels."""
    del argv
    try:
        data = TASKS[FLAGS.task].read(DataFiles(FLAGS.data_dir))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in (("train", data.train), ("dev", data.dev), ("test", data.test)):
        if split is not None:
            _write(folder / f"{name}.jsonl", split, data.label_names)


def _write(path: pathlib.Path, split: Examples, names: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for text, label in zip(split.columns[0], split.labels, strict=True):
            line = json.dumps({"text": text, "label": names[label]}, ensure_ascii=False)
            file.write(line + "\n")
    print(f"{path}: {len(split)} examples")


if __name__ == "__main__":
    app.run(main)
