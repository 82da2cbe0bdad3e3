"""GLUE from the folders that gluebenchmark.com offers: tab-separated, without quoting.

Their traps: CoLA's train and dev files have no header row; MNLI's gold label stands behind
those of its annotators; a lone quotation mark is text. MRPC comes as `train.tsv` and
`dev.tsv`, or as Microsoft published it: `msr_paraphrase_train.txt`, of which the pairs that
`dev_ids.tsv` lists are the dev split.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from absl import logging

from train.tasks.data import (
    Examples,
    Row,
    TaskData,
    cut_dev,
    to_examples,
    to_unlabelled,
    to_values,
)
from train.tasks.glue.specs import SPECS, STSB_LIMITS, Glue, file_splits
from train.tasks.tables import Fields, named, read_lines, tab_separated, with_header

_MSR_TRAIN, _MSR_TEST = "msr_paraphrase_train.txt", "msr_paraphrase_test.txt"
_MSR_IDS = ("#1 ID", "#2 ID")
_MSR_DEV_IDS = "dev_ids.tsv"
_MSR_DEV_IDS_URL = "https://dl.fbaipublicfiles.com/glue/data/mrpc_dev_ids.tsv"
_DIAGNOSTIC = ("AX/AX.tsv", "AX/diagnostic.tsv", "diagnostic/diagnostic.tsv", "diagnostic.tsv")


def find(task: str, data_dir: pathlib.Path) -> pathlib.Path | None:
    """Returns a task's folder: below `data_dir`, or that itself; `None` if it is neither."""
    folder = data_dir / SPECS[task].folder
    if folder.is_dir():
        return folder
    files = (file_splits(task).train, *((_MSR_TRAIN,) if task == "mrpc" else ()))
    return data_dir if any((data_dir / name).is_file() for name in files) else None


def read(task: str, folder: pathlib.Path) -> TaskData:
    """Reads a task of GLUE from its folder.

    Args:
      task: a key of `SPECS`.
      folder: what `find` returned.

    Raises:
      OSError: the train or dev file is missing or cannot be read. A test file may be missing.
      ValueError: a file has another form, or only one class to train on; it is named, and
        the line.
    """
    if task == "mrpc" and not (folder / "train.tsv").is_file() and (folder / _MSR_TRAIN).is_file():
        return _read_msr(folder)
    spec, splits = SPECS[task], file_splits(task)
    return TaskData(
        label_names=spec.names,
        train=_labelled(spec, folder / splits.train),
        dev=_labelled(spec, folder / splits.dev),
        further={name: _labelled(spec, folder / file) for name, file in splits.further.items()},
        unlabelled_readers={
            name: functools.partial(_unlabelled, spec, path)
            for name, path in _unlabelled_files(task, folder).items()
        },
        origin=folder / splits.train,
    )


def _unlabelled_files(task: str, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the test files that are there, and for MNLI's models GLUE's diagnostic set."""
    files = {name: folder / file for name, file in file_splits(task).unlabelled.items()}
    found = {name: path for name, path in files.items() if path.is_file()}
    if task == "mnli":
        places = (place / name for place in (folder.parent, folder) for name in _DIAGNOSTIC)
        diagnostic = next((path for path in places if path.is_file()), None)
        found |= {"AX": diagnostic} if diagnostic else {}
    return found


def _unlabelled(spec: Glue, path: pathlib.Path) -> Examples:
    return to_unlabelled(list(_rows(spec, path, False)), path)


def _labelled(spec: Glue, path: pathlib.Path) -> Examples:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: there is no such file. --data_dir must name GLUE's folder, with "
            f"{spec.folder} in it, as https://gluebenchmark.com/tasks offers it"
        )
    return _to_split(spec, list(_rows(spec, path, True)), path)


def _to_split(spec: Glue, rows: list[Row], path: pathlib.Path) -> Examples:
    if not spec.names:
        return to_values(rows, STSB_LIMITS, path)
    # By their place among the spellings, which are in the order of the names.
    return to_examples(rows, spec.spellings or spec.names, path)


def _rows(spec: Glue, path: pathlib.Path, labelled: bool) -> Iterator[Row]:
    """Yields a file's rows: with labels, or with ids."""
    fields = tab_separated(read_lines(path))
    if spec.skips_short_rows:
        fields = _without_short_rows(fields, path)
    if labelled and spec.header:
        records = named(fields, spec.header, path)
    else:
        records = with_header(fields, path)
    last = spec.label if labelled else spec.id
    for line, record in records:
        _check_columns((*spec.texts, last), record, path)
        texts = tuple(record[column] for column in spec.texts)
        yield Row(texts, record[last], line) if labelled else Row(texts, "", line, record[last])


def _without_short_rows(rows: Fields, path: pathlib.Path) -> Fields:
    lines, columns = [], 0
    for line, fields in rows:
        columns = columns or len(fields)
        if len(fields) < columns:
            lines.append(line)
        else:
            yield line, fields
    if lines:
        logging.warning(
            "%s: %d rows with too few fields are left out, the first in line %d",
            path,
            len(lines),
            lines[0],
        )


def _read_msr(folder: pathlib.Path) -> TaskData:
    """Reads MRPC from Microsoft's files. The test file's labels are not looked at."""
    spec, path, test = SPECS["mrpc"], folder / _MSR_TRAIN, folder / _MSR_TEST
    pairs = list(_msr_rows(spec, path))
    ids = folder / _MSR_DEV_IDS
    if ids.is_file():
        listed = {tuple(fields[:2]) for _, fields in tab_separated(read_lines(ids))}
        train = [row for pair, row in pairs if pair not in listed]
        dev = [row for pair, row in pairs if pair in listed]
        if pairs and not (train and dev):
            raise ValueError(
                f"{ids} must list some of the {len(pairs)} pairs of {path}, and not all. It lists "
                f"{len(dev)} of them"
            )
    else:
        logging.warning(
            "%s is missing, so dev is not GLUE's dev split of MRPC but cut from %s. "
            "It is published at %s",
            ids,
            _MSR_TRAIN,
            _MSR_DEV_IDS_URL,
        )
        train, dev = cut_dev([row for _, row in pairs])
    return TaskData(
        label_names=spec.names,
        train=_to_split(spec, train, path),
        dev=_to_split(spec, dev, path),
        unlabelled_readers=(
            {spec.folder: functools.partial(_msr_unlabelled, spec, test)} if test.is_file() else {}
        ),
        origin=path,
    )


def _msr_unlabelled(spec: Glue, path: pathlib.Path) -> Examples:
    rows = [
        Row(row.texts, "", row.line, str(number))
        for number, (_, row) in enumerate(_msr_rows(spec, path))
    ]
    return to_unlabelled(rows, path)


def _msr_rows(spec: Glue, path: pathlib.Path) -> Iterator[tuple[tuple[str, str], Row]]:
    """Yields the two sentences' ids, and the row."""
    for line, record in with_header(tab_separated(read_lines(path)), path):
        _check_columns((*_MSR_IDS, *spec.texts, spec.label), record, path)
        texts = tuple(record[column] for column in spec.texts)
        yield tuple(record[name] for name in _MSR_IDS), Row(texts, record[spec.label], line)


def _check_columns(columns: Iterable[str], record: Mapping[str, str], path: pathlib.Path) -> None:
    missing = [column for column in columns if column not in record]
    if missing:
        raise ValueError(f"{path}: there are no columns {missing} among {list(record)}")
