"""GLUE from TensorFlow Datasets, which is imported only when it is read."""

from __future__ import annotations

import os
import pathlib
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import numpy as np

from train.tasks.data import Examples, TaskData
from train.tasks.glue.specs import SPECS, tfds_splits

if TYPE_CHECKING:
    import tensorflow_datasets

    Builder = tensorflow_datasets.core.DatasetBuilder

# Where TensorFlow Datasets downloads GLUE from.
_HOST = "https://dl.fbaipublicfiles.com"
_SECONDS = 10
_BATCH = 1024


def default_dir() -> pathlib.Path:
    """Returns the folder where TensorFlow Datasets keeps data if none is named."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def find(config: str, data_dir: pathlib.Path) -> pathlib.Path | None:
    """Returns the newest prepared version of `glue/<config>` in a folder, if there is one."""
    versions = data_dir.glob(f"glue/{config}/*/dataset_info.json")
    folders = [path.parent for path in versions if path.parent.name.replace(".", "").isdigit()]
    return max(folders, key=lambda path: [int(n) for n in path.name.split(".")], default=None)


def download(config: str, data_dir: pathlib.Path) -> pathlib.Path:
    """Downloads and prepares `glue/<config>` in a folder, and returns where.

    Raises:
      ConnectionError: there is no network.
      Exception: what TensorFlow Datasets raises when it fails.
    """
    try:  # TensorFlow Datasets retries for minutes where there is no network.
        urllib.request.urlopen(_HOST, timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # An answer is an answer.
    except OSError as error:
        raise ConnectionError(f"{_HOST} cannot be reached: {error}") from error
    import tensorflow_datasets as tfds

    builder = tfds.builder(f"glue/{config}", data_dir=data_dir)
    builder.download_and_prepare()
    return pathlib.Path(builder.data_path)


def read(task: str, folder: pathlib.Path, diagnostic: pathlib.Path | None = None) -> TaskData:
    """Reads a task of GLUE from a prepared dataset, in the order of the published files.

    Args:
      task: a key of `SPECS`.
      folder: the version's folder.
      diagnostic: that of `glue/ax`, for the task `mnli`.

    Raises:
      ValueError: the dataset lacks a split.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    splits = tfds_splits(task)

    def labelled(split: str) -> Examples:
        return _read_split(builder, task, split, True)

    unlabelled = {
        name: _read_split(builder, task, split, False)
        for name, split in splits.unlabelled.items()
        if split in builder.info.splits
    }
    if diagnostic:
        builder_ax = tfds.builder_from_directory(diagnostic)
        unlabelled["AX"] = _read_split(builder_ax, task, "test", False)
    return TaskData(
        label_names=SPECS[task].names,
        train=labelled(splits.train),
        dev=labelled(splits.dev),
        further={name: labelled(split) for name, split in splits.further.items()},
        unlabelled=unlabelled,
    )


def _read_split(builder: Builder, task: str, split: str, labelled: bool) -> Examples:
    import tensorflow_datasets as tfds

    if split not in builder.info.splits:
        raise ValueError(f"{builder.data_path} has no split {split!r}: {list(builder.info.splits)}")
    spec = SPECS[task]
    batches = list(tfds.as_numpy(builder.as_dataset(split=split, batch_size=_BATCH)))
    data = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    # The examples are stored shuffled; `idx` is their row in the published file.
    order = np.argsort(data["idx"], kind="stable")
    columns = tuple(
        [text.decode() for text in data[name][order]] for name in spec.features or spec.texts
    )
    if not labelled:
        return Examples(columns, None, tuple(str(row) for row in data["idx"][order]))
    kind = np.int32 if spec.names else np.float32
    return Examples(columns, data["label"][order].astype(kind))
