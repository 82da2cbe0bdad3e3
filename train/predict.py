"""Scores files of any size with a SavedModel: `python -m train.predict --saved_model=...`.

    python -m train.predict --saved_model=runs/x/saved_model --input=data/*.csv --output=scores

`--input` names CSV, TSV, JSON-lines and Parquet files, whose columns are found by name.
`scores/predictions` gets files in the order of the rows; `scores/malformed.jsonl` what is no
row. Stopped at any time, the same command goes on; `train.scoring.job` says how.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence

import tqdm
from absl import flags

from train import command
from train.quiet import quiet_tensorflow
from train.ray_extra import check_installed
from train.scoring import cluster
from train.scoring import files as input_files
from train.scoring.job import MALFORMED, Job, digest
from train.scoring.work import Work
from train.serving.frozen import assume_frozen_weights
from train.serving.signatures import TASK, Form, read_form

FLAGS = flags.FLAGS
SUFFIXES = ("jsonl", "parquet")
# Columns of the predictions that are not copied.
_OUTPUTS = (
    *("file", "row", "task", "label", "probability", "probabilities", "value"),
    *("answer", "start", "end", "score", "null_score"),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags, by their names.

    Args:
      saved_model, input, output, format, output_format, text_columns, id_columns, task,
      task_column, rows_per_part, batch_size, ray_address, workers: see `main`'s flags.
    """

    saved_model: str
    input: Sequence[str]
    output: str
    format: str | None = None
    output_format: str = "jsonl"
    text_columns: Sequence[str] = ()
    id_columns: Sequence[str] = ()
    task: str | None = None
    task_column: str | None = None
    rows_per_part: int = 4096
    batch_size: int = 32
    ray_address: str | None = None
    workers: int | None = None


def main(argv: Sequence[str]) -> None:
    """Scores the files, or what is left of them, and says how many rows there are."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        names = [field.name for field in dataclasses.fields(Options)]
        options = Options(**{name: getattr(FLAGS, name) for name in names})
        quiet_tensorflow(FLAGS.tensorflow_log)
        assume_frozen_weights(options.saved_model)
        print(predict(options))
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise  # See `train.command`.
        sys.exit(f"error: {error}")


def predict(options: Options) -> str:
    """Scores files, or what is left of them.

    Returns:
      What has been done, in a line.

    Raises:
      ValueError: a flag does not fit the model or the files, a file is damaged or changes
        meanwhile, `output` holds another work, or the model cannot compute.
      OSError: a file cannot be read or written, `output` is in use, or there is no cluster.
    """
    if options.ray_address:
        check_installed("--ray_address")
    elif options.workers:
        raise ValueError("--workers is for a cluster: give its --ray_address, or leave it out")
    form = read_form(options.saved_model)
    options = settle(options, form)
    files = input_files.find_files(options.input, options.format)
    needed = [
        column
        for name, column in zip(form.texts, options.text_columns, strict=False)
        if name not in form.optional
    ]
    if form.kind == "many" and options.task is None:
        needed.append(options.task_column)
    input_files.check_columns(files, needed, options.id_columns)
    output = pathlib.Path(options.output).resolve()
    for file in files:
        if output in pathlib.Path(file.path).resolve().parents:
            raise ValueError(f"--input={file.path} is in --output={options.output}: name another")
    settings = {
        "saved_model": digest(options.saved_model),
        "text_columns": list(options.text_columns),
        "id_columns": list(options.id_columns),
        "task": options.task,
        "task_column": options.task_column,
        "rows_per_part": options.rows_per_part,
        "suffix": options.output_format,
    }
    with Job(options.output, settings, files) as job:
        before = "had finished before" if job.finished else "has finished"
        counts = job.finished or _work(job, files, options)
    told = f"{options.output} {before}: {counts['rows']} rows"
    if counts["malformed"]:
        told += (
            f", {counts['malformed']} of them malformed: see "
            f"{os.path.join(options.output, MALFORMED)}"
        )
    return told


def settle(options: Options, form: Form) -> Options:
    """Returns the options with the columns that the model asks for.

    Raises:
      ValueError: they do not fit the model, or each other.
    """
    texts, least = form.texts, [name for name in form.texts if name not in form.optional]
    columns = tuple(options.text_columns) or texts
    if not len(least) <= len(columns) <= len(texts):
        raise ValueError(
            f"--text_columns must name the columns of this model's {' and '.join(texts)}. "
            f"Received: {','.join(columns)!r}"
        )
    task_column = options.task_column
    if form.kind != "many" and (options.task is not None or task_column):
        raise ValueError("--task and --task_column are for a model of many tasks; this is of one")
    if form.kind == "many":
        if options.task is not None and task_column:
            raise ValueError("--task is one task for all rows: leave out it or --task_column")
        if options.task is None:
            task_column = task_column or TASK
    if len(set(columns)) < len(columns) or not all(columns):
        raise ValueError(
            f"--text_columns must name different columns. Received: {','.join(columns)!r}"
        )
    ids = tuple(options.id_columns)
    taken = [name for name in ids if name in _OUTPUTS or ids.count(name) > 1 or not name]
    if taken:
        raise ValueError(
            f"--id_columns must be different, and none of {', '.join(_OUTPUTS)}, which the "
            f"predictions have already. Received: {','.join(ids)!r}"
        )
    if "parquet" in (options.output_format, options.format):
        from train.scoring import parquet  # noqa: F401  Says what to install.
    return dataclasses.replace(
        options, text_columns=columns, id_columns=ids, task_column=task_column
    )


def _work(job: Job, files: Sequence[input_files.InputFile], options: Options) -> dict[str, int]:
    """Scores the parts that are not done; returns the counts of the whole."""
    size = sum(file.size for file in files)
    with tqdm.tqdm(
        total=size, desc="counting rows", unit="B", unit_scale=True, mininterval=1.0, leave=False
    ) as bar:
        parts = job.parts(bar.update)
    todo = job.todo(parts)
    rows = sum(part.rows for part in parts)
    done = rows - sum(part.rows for part in todo)
    if todo:
        with tqdm.tqdm(
            total=rows, initial=done, desc="scoring", unit=" rows", mininterval=1.0
        ) as bar:
            _score(todo, files, options, bar)
    return job.finish(parts)


def _score(
    todo: Sequence, files: Sequence[input_files.InputFile], options: Options, bar: tqdm.tqdm
) -> None:
    work = Work(
        saved_model=os.path.abspath(options.saved_model),
        folder=os.path.abspath(options.output),
        files=tuple(files),
        text_columns=tuple(options.text_columns),
        id_columns=tuple(options.id_columns),
        task=options.task,
        task_column=options.task_column,
        suffix=options.output_format,
        batch_size=options.batch_size,
    )
    if options.ray_address is None:
        from train.scoring.scorer import Scorer  # Imports TensorFlow.

        scorer = Scorer(work)
        for part in todo:
            scorer.score(part, bar.update)
    else:
        cluster.score(options.ray_address, work, todo, options.workers, bar.update)


def define_flags() -> None:
    """Defines the flags: not at import, for other commands have flags of the same names."""
    flags.DEFINE_string("saved_model", None, "The saved_model folder of a run or a bundle.")
    flags.DEFINE_multi_string("input", None, "Files or patterns; may be given several times.")
    flags.DEFINE_string("output", None, "The folder to write.")
    flags.DEFINE_enum(
        "format", None, input_files.NAMES, "Of the files; their names' ends tell by default."
    )
    flags.DEFINE_enum("output_format", "jsonl", SUFFIXES, "Of the predictions.")
    flags.DEFINE_list("text_columns", [], "The texts' columns; by default, named as the model's.")
    flags.DEFINE_list("id_columns", [], "Columns to copy to the predictions.")
    flags.DEFINE_string("task", None, "The task of all rows, for a model of many tasks.")
    flags.DEFINE_string("task_column", None, "The column of the rows' tasks; by default, task.")
    flags.DEFINE_integer("rows_per_part", 4096, "Rows that are written together.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 32, "Rows that are computed at a time.", lower_bound=1)
    flags.DEFINE_string("ray_address", None, "Of a Ray cluster to work on, as ray.init takes it.")
    flags.DEFINE_integer(
        "workers", None, "On a cluster; by default one a GPU, or one a machine.", lower_bound=1
    )
    flags.mark_flags_as_required(["saved_model", "input", "output"])


if __name__ == "__main__":
    define_flags()
    command.run(main, outlives_readers=True)
