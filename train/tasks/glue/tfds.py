"""GLUE from TensorFlow Datasets, which is imported only when it is read."""

from __future__ import annotations

import functools
import os
import pathlib
import re
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import numpy as np

from train.tasks.data import Examples, TaskData
from train.tasks.glue.specs import SPECS, STSB_LIMITS, Glue, tfds_splits

if TYPE_CHECKING:
    import tensorflow_datasets

    Builder = tensorflow_datasets.core.DatasetBuilder

# Where TensorFlow Datasets downloads GLUE from.
_HOST = "https://dl.fbaipublicfiles.com"
_SECONDS = 10
_BATCH = 1024
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*")


def default_dir() -> pathlib.Path:
    """Returns the folder where TensorFlow Datasets keeps data if none is named."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def find(config: str, data_dir: pathlib.Path) -> pathlib.Path | None:
    """Returns the newest prepared version of `glue/<config>` in a folder, if there is one."""
    versions = data_dir.glob(f"glue/{config}/*/dataset_info.json")
    folders = [path.parent for path in versions if _VERSION.fullmatch(path.parent.name)]
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
      ValueError: the dataset is damaged, lacks a split or is not that task's, or there is
        only one class to train on.
    """
    spec, splits = SPECS[task], tfds_splits(task)
    unlabelled = {
        name: functools.partial(_read_split, folder, spec, split, False)
        for name, split in splits.unlabelled.items()
    }
    if diagnostic:
        unlabelled["AX"] = functools.partial(_read_split, diagnostic, spec, "test", False)
    return TaskData(
        label_names=spec.names,
        train=_read_split(folder, spec, splits.train, True),
        dev=_read_split(folder, spec, splits.dev, True),
        further={
            name: _read_split(folder, spec, split, True) for name, split in splits.further.items()
        },
        unlabelled_readers=unlabelled,
        origin=folder,
    )


def _read_split(folder: pathlib.Path, spec: Glue, split: str, labelled: bool) -> Examples:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        data = _columns(builder, split)
        # The examples are stored shuffled; `idx` is their row in the published file.
        order = np.argsort(data["idx"], kind="stable")
        columns = tuple(
            [text.decode() for text in data[name][order]] for name in spec.features or spec.texts
        )
        if not labelled:
            return Examples(columns, None, tuple(str(row) for row in data["idx"][order]))
        return Examples(columns, _labels(builder, spec, data["label"][order]))
    except Exception as error:  # Of many kinds, by where the files are damaged.
        # TensorFlow's begin with the graph's node in double braces.
        reason = re.sub(r"^\{\{.*?\}\} *", "", str(error)).strip().partition("\n")[0]
        raise ValueError(
            f"{folder}: the split {split!r} cannot be read, for the files are damaged or are not "
            f"GLUE's ({type(error).__name__}: {reason}). Remove this folder, and prepare it again"
        ) from error


def _columns(builder: Builder, split: str) -> dict[str, np.ndarray]:
    """Returns all of a split's features, in the order as stored."""
    import tensorflow_datasets as tfds

    if split not in builder.info.splits:
        raise ValueError(f"there are only the splits {sorted(builder.info.splits)}")
    batches = list(tfds.as_numpy(builder.as_dataset(split=split, batch_size=_BATCH)))
    examples, expected = (
        sum(len(batch["idx"]) for batch in batches),
        builder.info.splits[split].num_examples,
    )
    if examples != expected or not examples:
        raise ValueError(f"{examples} examples, and dataset_info.json promises {expected}")
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _labels(builder: Builder, spec: Glue, labels: np.ndarray) -> np.ndarray:
    names = tuple(getattr(builder.info.features["label"], "names", ()))
    if names != spec.names:
        raise ValueError(f"the labels are {names}, not {spec.names}")
    low, high = (0, len(names) - 1) if names else STSB_LIMITS
    if not np.all((labels >= low) & (labels <= high)):  # NaN is not, either.
        raise ValueError(f"there are labels that are not from {low:g} to {high:g}")
    return labels.astype(np.int32 if names else np.float32)
