"""A run's predictions of the test splits that GLUE publishes without labels.

The form is that of https://gluebenchmark.com/submit: one tab-separated file per split, with
the header `index`, `prediction`, in a zip. `train.submission` makes one of several runs.
"""

from __future__ import annotations

import io
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from keras_adapters.atomic import write_bytes, write_text
from train.tasks.data import Examples
from train.tasks.glue import STSB_LIMITS

FOLDER = "predictions"
_HEADER = "index\tprediction"
_DAWN = (1980, 1, 1, 0, 0, 0)  # The same predictions make the same zip.

# How the site wants each file's predictions: the label's name or its number, or a value.
FILES = {
    "CoLA": "number",
    "SST-2": "number",
    "MRPC": "number",
    "STS-B": "value",
    "MNLI-m": "name",
    "MNLI-mm": "name",
    "QNLI": "name",
    "QQP": "number",
    "RTE": "name",
    "WNLI": "number",
    "AX": "name",
}


def write_predictions(
    folder: str | os.PathLike,
    name: str,
    examples: Examples,
    label_names: Sequence[str],
    outputs: np.ndarray,
) -> pathlib.Path:
    """Writes a model's predictions of one test split to `<name>.tsv` in a folder.

    Args:
      folder: where; it stands there.
      name: a key of `FILES`, as in `TaskData.unlabelled`.
      examples: the split.
      label_names: names of the classes; not looked at for values.
      outputs: logits `<float32>[examples, classes]`, or values `<float32>[examples]` or
        `<float32>[examples, 1]`, in the split's order.

    Returns:
      The file's path.

    Raises:
      ValueError: the name is not one of GLUE's, or the outputs are not one finite row for
        each example.
    """
    if name not in FILES:
        raise ValueError(f"`name` must be one of {', '.join(FILES)}. Received: {name!r}")
    if len(outputs) != len(examples) or not np.all(np.isfinite(outputs)):
        raise ValueError(
            f"{name}: there must be one output, a finite one, for each of the {len(examples)} "
            f"examples. Received: {len(outputs)}"
        )
    ids = examples.ids or [str(number) for number in range(len(examples))]
    predictions = _spell(FILES[name], label_names, outputs)
    path = pathlib.Path(folder, f"{name}.tsv")
    rows = [f"{id_}\t{prediction}" for id_, prediction in zip(ids, predictions, strict=True)]
    write_text(path, "\n".join([_HEADER, *rows]) + "\n")
    return path


def write_zip(output: str | os.PathLike, files: Mapping[str, pathlib.Path]) -> None:
    """Writes a zip of prediction files, whole or not at all.

    Args:
      output: the zip's path.
      files: the prediction files by their names in `FILES`.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            entry = zipfile.ZipInfo(f"{name}.tsv", _DAWN)
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    write_bytes(output, buffer.getvalue())


def _spell(form: str, label_names: Sequence[str], outputs: np.ndarray) -> list[str]:
    if form == "value":
        return [f"{value:.3f}" for value in np.clip(np.ravel(outputs), *STSB_LIMITS)]
    labels = np.argmax(outputs, axis=-1)
    return [label_names[label] if form == "name" else str(label) for label in labels]
