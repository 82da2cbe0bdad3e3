"""The methods that are held against each other, each with what dev chose for it."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

from keras_adapters.methods.method import METHODS
from train.study.evidence import Column, Condition, Score, is_default, points, same_size
from train.study.labels import ADAPTERS, method_label, width_label
from train.study.runs import Run
from train.study.selection import WIDTHS, Group, Selected

FULL = "full"
FIXED_SIZE = 64  # Of the paper's table 1.
_FEW = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A method, or one width of it, on all tasks.

    Args:
      label: what it is called.
      role: the method's name, and of adapters of one fixed size that with the size.
      chosen: by task, what dev chose.
    """

    label: str
    role: str
    chosen: Mapping[str, Selected]

    def group(self, task: str) -> Group | None:
        """Returns the chosen runs of a task, if there are any."""
        return self.chosen[task].chosen if task in self.chosen else None

    def score(self, column: Column) -> Score | None:
        """Returns the score of one column."""
        group = self.group(column.task)
        found = points(group, column.split) if group else {}
        return Score.of(list(found.values())) if found else None

    def average(self, columns: Sequence[Column]) -> Score | None:
        """Returns the mean over tasks, of each of which its columns' mean counts once.

        `None` where a score is lacking.
        """
        by_task: dict[str, list[dict[int, float]]] = {}
        for column in columns:
            group = self.group(column.task)
            found = points(group, column.split) if group else {}
            if not found:
                return None
            by_task.setdefault(column.task, []).append(found)
        return average([by_seed(found) for found in by_task.values()])


def method_rows(condition: Condition, keep: Callable[[Run], bool] = lambda run: True) -> list[Row]:
    """Returns the methods that there are runs of, in the order of the paper's tables.

    Adapters of all sizes come as one row, of which dev chooses the size for each task, and
    those of size 64 as one of their own; the number of top layers is chosen likewise.

    Args:
      condition: the runs.
      keep: which of them count.
    """
    methods = (FULL, ADAPTERS, *(name for name in METHODS if name not in (FULL, ADAPTERS)))
    others = sorted({run.method for run in condition.runs} - set(methods))
    rows: list[Row] = []
    for method in (*methods, *others):
        runs = [run for run in _default_runs(condition, method) if keep(run)]
        if not runs:
            continue
        rows.append(_row(condition, _best_label(method, runs), method, runs))
        fixed = [run for run in runs if same_size(run) == FIXED_SIZE]
        if 0 < len(fixed) < len(runs):
            role = f"{method} {FIXED_SIZE}"
            rows.append(_row(condition, fixed[0].label, role, fixed))
    return rows


def width_rows(condition: Condition, method: str) -> list[Row]:
    """Returns a method's widths, adapters' sizes or numbers of top layers, each as a row."""
    runs = _default_runs(condition, method)
    labels: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.trained):
        labels.setdefault(run.label, []).append(run)
    return [_row(condition, label, method, found) for label, found in labels.items()]


def average(tasks: Sequence[Mapping[int, float]]) -> Score:
    """Returns the mean over tasks of each task's mean over seeds.

    Args:
      tasks: each task's points by seed.

    Returns:
      The standard deviation is of the means over tasks at the seeds that all have in common,
      which are counted; there may be none.
    """
    common = set.intersection(*(set(found) for found in tasks))
    means = [statistics.fmean(found[seed] for found in tasks) for seed in sorted(common)]
    return Score(
        statistics.fmean(statistics.fmean(found.values()) for found in tasks),
        statistics.stdev(means) if len(means) > 1 else None,
        len(means),
    )


def by_seed(columns: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Returns the mean over the columns of one task at each seed that all of them have."""
    common = set.intersection(*(set(found) for found in columns))
    return {seed: statistics.fmean(found[seed] for found in columns) for seed in sorted(common)}


def times_base(groups: Sequence[Group]) -> float | None:
    """Returns the parameters of several tasks together, as a multiple of the encoder's.

    What is trained is kept once per task, and what is not trained once for all: the paper's
    "total num params".

    Args:
      groups: the chosen runs, one of each task.

    Returns:
      `None` where a run has no pretrained encoder.
    """
    counts = [group.first.results["parameters"] for group in groups]
    if not counts or not all(each.get("base") for each in counts):
        return None
    shared = max(each["total"] - each["trained"] for each in counts)
    return (shared + sum(each["trained"] for each in counts)) / counts[0]["base"]


def _default_runs(condition: Condition, method: str) -> list[Run]:
    return [run for run in condition.runs if run.method == method and is_default(run)]


def _row(condition: Condition, label: str, role: str, runs: Sequence[Run]) -> Row:
    mine = set(runs)
    chosen = condition.select(lambda run: run in mine, WIDTHS)
    return Row(label, role, {task: found[0] for task, found in chosen.items()})


def _best_label(method: str, runs: Sequence[Run]) -> str:
    ordered = sorted(runs, key=lambda run: run.trained)
    widths = list(dict.fromkeys(_width(run) for run in ordered))
    if len(widths) == 1:
        return runs[0].label
    several = ", ".join(widths)
    if len(widths) > _FEW:
        several = f"{widths[0]} to {widths[-1]} ({len(widths)} tried)"
    return f"{method_label(method)}, best of {several}"


def _width(run: Run) -> str:
    return str(run.top_layers) if run.top_layers else width_label(run.insertion or {})
