"""The tables of a report."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from train.study.comparison import LEAST_PAIRS, compare, differences
from train.study.evidence import (
    Column,
    Condition,
    Evidence,
    Score,
    is_default,
    points,
    same_size,
)
from train.study.labels import ADAPTERS
from train.study.listings import all_runs, selected
from train.study.rows import FULL, Row, average, by_seed, method_rows, times_base, width_rows
from train.study.runs import Run
from train.study.selection import Group
from train.study.table import SCORES, Table, Value

_ON_DEV = (
    "Learning rates and other settings, and sizes where they are the best of several, were chosen "
    "by the mean score on dev; a column headed dev is of the split that they were chosen on."
)


def results(condition: Condition) -> Table:
    """Returns the paper's tables 1 and 2: methods by tasks."""
    columns, tasks = condition.columns, condition.tasks
    rows = []
    for row in method_rows(condition):
        groups = [row.group(task) for task in tasks]
        complete = all(groups)
        percent = [g.first.results["parameters"]["trained_percent"] for g in groups if g]
        multiple = times_base(groups) if complete else None
        rows.append(
            (
                row.label,
                *(row.score(column) for column in columns),
                *([row.average(columns)] if len(tasks) > 1 else []),
                multiple,
                statistics.fmean(percent),
            )
        )
    several = ["average"] if len(tasks) > 1 else []
    of_tasks = f"parameters of {len(tasks)} task{'s' if len(tasks) > 1 else ''}, × base"
    return Table(
        f"results-{condition.slug}",
        f"Methods: {condition.title}",
        f"{SCORES} {_ON_DEV} Parameters of all tasks together are a multiple of the encoder's: "
        "what a method leaves as it was is kept once, what it trains once per task, heads "
        "included. The average is over tasks, where there is a score for each; its deviation is "
        "over the seeds that all tasks have. Trained is the mean over tasks of the share of a "
        "model's parameters that training changes.",
        ("method", *(column.title for column in columns), *several, of_tasks, "trained, %"),
        tuple(rows),
    )


def comparisons(condition: Condition) -> Table | None:
    """Returns paired tests of each method against full fine-tuning, if there are pairs."""
    methods = method_rows(condition)
    full = next((row for row in methods if row.role == FULL), None)
    if full is None:
        return None
    rows: list[tuple[Value, ...]] = []
    for row in methods:
        if row is full:
            continue
        pairs = {task: _pairs(row, full, task, condition.columns) for task in condition.tasks}
        pairs = {task: found for task, found in pairs.items() if found}
        if len(pairs) > 1:
            rows.append((row.label, f"all {len(pairs)}", *_tested(chain(*pairs.values()))))
        rows += [(row.label, task, *_tested(found)) for task, found in pairs.items()]
    if not rows:
        return None
    return Table(
        f"comparisons-{condition.slug}",
        f"Against full fine-tuning: {condition.title}",
        "Each pair is a run of the method and one of full fine-tuning with the same seed on the "
        "same task, both with the settings that dev chose. The difference is the method's score "
        "less that of full fine-tuning, in points: mean ± standard deviation over pairs. Both "
        f"tests are two-sided, and say nothing of fewer than {LEAST_PAIRS} pairs; pairs of "
        "different tasks are treated alike, and p is not corrected for the number of tests. With "
        "signs flipped, the least p that n pairs can have is 2 to the power of 1 - n.",
        ("method", "tasks", "pairs", "difference", "p, paired t-test", "p, sign flips"),
        tuple(rows),
        (("p, paired t-test", ".3f"), ("p, sign flips", ".3f")),
    )


def sizes(condition: Condition) -> Table | None:
    """Returns the scores of each width of adapters and each number of top layers."""
    rows = [row for method in (ADAPTERS, "top_layers") for row in width_rows(condition, method)]
    if len(rows) < 2:
        return None
    several = len(condition.tasks) > 1
    return Table(
        f"sizes-{condition.slug}",
        f"Sizes: {condition.title}",
        f"{SCORES} The other settings were chosen by the mean score on dev, for each size. Trained "
        "parameters are of one task, its head included: the mean over tasks.",
        (
            "method",
            "trained parameters",
            *(column.title for column in condition.columns),
            *(["average"] if several else []),
        ),
        tuple(
            (
                row.label,
                round(statistics.fmean(s.chosen.first.trained for s in row.chosen.values())),
                *(row.score(column) for column in condition.columns),
                *([row.average(condition.columns)] if several else []),
            )
            for row in rows
        ),
    )


def variants(condition: Condition) -> Table | None:
    """Returns how variants of adapters differ from the default ones of the same size."""
    labels: dict[str, list[Run]] = {}
    for run in condition.runs:
        if run.method == ADAPTERS and not is_default(run):
            labels.setdefault(run.label, []).append(run)
    if not labels:
        return None
    columns, rows = condition.columns, []
    for label, runs in sorted(labels.items(), key=lambda item: (_width_of(item[1][0]), item[0])):
        variant, default = _rows_of_variant(condition, label, runs)
        pairs = [
            (variant.score(column), _difference(variant, default, column)) for column in columns
        ]
        trained = round(statistics.fmean(s.chosen.first.trained for s in variant.chosen.values()))
        mean = _mean_difference(variant, default, condition)
        rows.append((label, trained, *chain(*pairs), *mean))
    return Table(
        f"variants-{condition.slug}",
        f"Variants of adapters: {condition.title}",
        f"{SCORES} A difference is the variant's score less that of default adapters of the same "
        "size, over the seeds that both have. The settings of each were chosen by the mean score "
        "on dev; the table of chosen settings says of how many, and more tried are an advantage. "
        "No difference stands where there are no default adapters of that size, or no seeds in "
        "common.",
        (
            "variant",
            "trained parameters",
            *chain(*((column.title, f"difference, {column.title}") for column in columns)),
            *(["mean difference"] if len(condition.tasks) > 1 else []),
        ),
        tuple(rows),
    )


def tables(evidence: Evidence) -> list[Table]:
    """Returns all tables that there are runs for."""
    by_condition = [
        make(condition)
        for condition in evidence.conditions
        for make in (results, comparisons, sizes, variants)
    ]
    return [table for table in by_condition if table] + [selected(evidence), all_runs(evidence)]


def _pairs(row: Row, full: Row, task: str, columns: Sequence[Column]) -> list[float]:
    ours, theirs = row.group(task), full.group(task)
    if not (ours and theirs):
        return []
    mine = [column for column in columns if column.task == task]
    return differences(*(_of_task(group, mine) for group in (ours, theirs)))


def _of_task(group: Group, columns: Sequence[Column]) -> dict[int, float]:
    """Returns a task's points by seed, of several splits their mean."""
    found = [points(group, column.split) for column in columns]
    return by_seed([each for each in found if each])


def _tested(pairs: Iterable[float]) -> tuple[Value, ...]:
    pairs = list(pairs)
    found = compare(pairs)
    return len(pairs), found.difference, found.t_test, found.sign_flips


def _width_of(run: Run) -> float:
    return same_size(run) or float("inf")


def _rows_of_variant(condition: Condition, label: str, runs: Sequence[Run]) -> tuple[Row, Row]:
    ours, size = set(runs), _size(runs[0])
    chosen = condition.select(lambda run: run in ours)
    default = condition.select(
        lambda run: run.method == ADAPTERS and is_default(run) and _size(run) == size
    )
    return tuple(
        Row(label, ADAPTERS, {task: found[0] for task, found in each.items()})
        for each in (chosen, default)
    )


def _size(run: Run) -> tuple[Any, Any]:
    insertion = run.insertion or {}
    return insertion.get("size"), insertion.get("reduction_factor")


def _difference(variant: Row, default: Row, column: Column) -> Score | None:
    groups = variant.group(column.task), default.group(column.task)
    if not all(groups):
        return None
    found = differences(*(points(group, column.split) for group in groups))
    return Score.of(found) if found else None


def _mean_difference(variant: Row, default: Row, condition: Condition) -> Iterator[Score | None]:
    if len(condition.tasks) < 2:
        return
    by_task = []
    for task in condition.tasks:
        groups = variant.group(task), default.group(task)
        if not all(groups):
            continue
        mine = [column for column in condition.columns if column.task == task]
        ours, theirs = (_of_task(group, mine) for group in groups)
        if set(ours) & set(theirs):
            by_task.append({seed: ours[seed] - theirs[seed] for seed in set(ours) & set(theirs)})
    yield average(by_task) if by_task else None
