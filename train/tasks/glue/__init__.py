"""The nine tasks of GLUE, from downloaded folders or from TensorFlow Datasets.

Wang et al. 2018, https://gluebenchmark.com. The test splits are published without labels:
predictions of them are scored by that site, see `train.submission`. Both sources give the
same examples, and the labels in the same order.
"""

from __future__ import annotations

import os
import pathlib

from train.tasks.data import TaskData
from train.tasks.glue import folders, tfds
from train.tasks.glue.specs import SPECS, STSB_LIMITS

__all__ = ["SPECS", "STSB_LIMITS", "read"]


def read(task: str, data_dir: str | os.PathLike | None) -> TaskData:
    """Reads a task of GLUE from the first of these that is there.

    In `data_dir`: the task's folder (or `data_dir` is that folder), or what TensorFlow
    Datasets has prepared, `glue/<task>/<version>`. Without `data_dir`, what TensorFlow
    Datasets has prepared in its own folder. Else it is downloaded there.

    Args:
      task: a key of `SPECS`.
      data_dir: the folder, or `None`.

    Raises:
      OSError: the data is not there and cannot be downloaded, or a file of a folder is
        missing or cannot be read.
      ValueError: a file has another form, and it is named, and the line; what TensorFlow
        Datasets has prepared is damaged; or there is only one class to train on.
    """
    if data_dir:
        folder = folders.find(task, pathlib.Path(data_dir))
        if folder:
            return folders.read(task, folder)
    root = pathlib.Path(data_dir) if data_dir else tfds.default_dir()
    prepared = tfds.find(task, root)
    if not prepared:
        try:
            prepared = tfds.download(task, root)
        except Exception as error:  # Of many kinds, and all mean that there is no data.
            raise FileNotFoundError(_how_to_get(task, root, error)) from error
    return tfds.read(task, prepared, tfds.find("ax", root) if task == "mnli" else None)


def _how_to_get(task: str, root: pathlib.Path, error: Exception) -> str:
    folder = SPECS[task].folder
    return (
        f"--task={task}: there is no data of it in {root}, and TensorFlow Datasets cannot download "
        f"it ({error}). Either download {folder} from https://gluebenchmark.com/tasks and name "
        f"the folder that holds {folder}/ with --data_dir; or prepare it where there is a "
        f"network, with `python -c \"import tensorflow_datasets as t; t.load('glue/{task}', "
        "data_dir='DIR')\"`, and name DIR with --data_dir"
    )
