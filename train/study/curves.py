"""The figures of scores against numbers: parameters, initial values, training examples."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from train.study.comparison import differences
from train.study.drawing import Figure, Series, chart
from train.study.evidence import Column, Condition, Score, is_default, points
from train.study.labels import ADAPTERS, complete, width_label
from train.study.rows import FULL, Row, method_rows, width_rows
from train.study.runs import Run
from train.study.selection import Group, best

PARAMETERS = "trained parameters per task, head included"
_SPANS = ("squad", "squad_v2")
_PERCENTILES = 20, 50, 80
_WIDE = (ADAPTERS, "top_layers")
_BARS = "bars are one standard deviation over seeds"


def relative(condition: Condition) -> Figure | None:
    """Draws the paper's figures 1 and 3: scores relative to full fine-tuning, by parameters.

    Returns:
      `None` where no method of several widths is there beside full fine-tuning.
    """
    full = next((row for row in method_rows(condition) if row.role == FULL), None)
    rows = {method: width_rows(condition, method) for method in _WIDE}
    lines = [_relative(condition, method, rows[method], full) for method in _WIDE] if full else []
    series = [line for line in lines if line]
    if not any(len(line.x) > 1 for line in series):
        return None
    tasks = {task for row in (*rows[ADAPTERS], *rows["top_layers"]) for task in row.chosen}
    count = len(tasks & set(full.chosen))
    how = (
        "Lines are the 50th percentile over tasks and bands reach from the 20th to the 80th; dots "
        f"are tasks. There are {count} tasks, fewer where one has not been run at a size."
        if count > 1
        else f"There is one task, so there are no percentiles over tasks: {_BARS}."
    )
    return chart(
        f"relative-{condition.slug}",
        f"Relative to full fine-tuning: {condition.title}",
        "Figures 1 and 3 of the paper: the score less that of full fine-tuning, means over seeds. "
        f"{how} Settings were chosen on dev.",
        series,
        (PARAMETERS, "score relative to full fine-tuning, points"),
        (0.0, "full fine-tuning"),
    )


def by_task(condition: Condition) -> list[Figure]:
    """Draws the paper's figures 4 and 5: for each task the score by trained parameters."""
    drawn = []
    singles = [row for row in method_rows(condition) if row.role not in (*_WIDE, "adapters 64")]
    wide = {method: width_rows(condition, method) for method in _WIDE}
    for task in condition.tasks:
        column = next(column for column in condition.columns if column.task == task)
        lines = [_widths(rows, method, column) for method, rows in wide.items()]
        series = [line for line in lines if line]
        if not any(len(line.x) > 1 for line in series):
            continue
        for row in singles:
            group = row.group(task)
            if row.role != "no_bert" and group and (score := row.score(column)):
                xs = [group.first.trained]
                series.append(_series(row.label, row.role, xs, [score]))
        paper = "Figure 5" if task.split()[0] in _SPANS else "Figure 4"
        title = f"Scores by parameters: {column.title}; {condition.title}"
        caption = (
            f"{paper} of the paper: {_seeds(series)}. Numbers at points are sizes of adapters, or "
            "numbers of top layers. Other settings were chosen on dev."
        )
        drawn.append(
            chart(
                f"parameters-{_slug(task)}-{condition.slug}",
                title,
                caption,
                series,
                (PARAMETERS, _points_of(column)),
            )
        )
    return drawn


def initial_values(condition: Condition) -> list[Figure]:
    """Draws the paper's figure 6, right: the score by the spread of adapters' initial kernels."""
    lines: dict[str, dict[str, dict[float, Group]]] = {}
    for selected in best(filter(_differs_in_init_alone, condition.runs)):
        first = selected.chosen.first
        by_width = lines.setdefault(condition.task_of(first), {})
        width = f"{ADAPTERS} {width_label(first.insertion)}"
        init = complete(first.insertion)["init_stddev"]
        by_width.setdefault(width, {})[init] = selected.chosen
    drawn = []
    for task, by_width in sorted(lines.items()):
        column = next(column for column in condition.columns if column.task == task)
        several = sorted(item for item in by_width.items() if len(item[1]) > 1)
        series = [
            _series(
                label,
                f"{label} by init" if number else ADAPTERS,
                sorted(found),
                [Score.of(list(points(found[x], column.split).values())) for x in sorted(found)],
            )
            for number, (label, found) in enumerate(several)
        ]
        if series:
            drawn.append(
                chart(
                    f"init-{_slug(task)}-{condition.slug}",
                    f"Initial values: {column.title}; {condition.title}",
                    f"Figure 6, right, of the paper: {_seeds(series)}. Other settings were chosen "
                    "on dev.",
                    series,
                    ("standard deviation of adapters' initial kernels", _points_of(column)),
                )
            )
    return drawn


def examples(conditions: Sequence[Condition]) -> list[Figure]:
    """Draws the score by the number of training examples, each method a line."""
    drawn = []
    for encoder in dict.fromkeys(condition.encoder for condition in conditions):
        mine = [condition for condition in conditions if condition.encoder == encoder]
        columns = sorted({c for condition in mine for c in condition.columns})
        for task in dict.fromkeys(column.task for column in columns):
            column = next(column for column in columns if column.task == task)
            series = [line for line in _by_examples(mine, column) if len(line.x) > 1]
            if series:
                drawn.append(
                    chart(
                        f"examples-{_slug(task)}-{_slug(encoder)}",
                        f"Scores by training examples: {column.title}; {encoder}",
                        f"Not in the paper: {_seeds(series)}. For each number of examples the "
                        "settings were chosen on dev, and so were sizes, of those that there are "
                        "runs of for every number of examples.",
                        series,
                        ("training examples", _points_of(column)),
                    )
                )
    return drawn


def _differs_in_init_alone(run: Run) -> bool:
    return run.method == ADAPTERS and bool(run.insertion) and is_default(run, ("init_stddev",))


def _relative(condition: Condition, method: str, rows: Sequence[Row], full: Row) -> Series | None:
    """Returns a method's widths; each point is over the tasks that have it and `full`."""
    import numpy as np

    found: list[tuple[float, list[Score], str]] = []
    dots: list[tuple[float, float]] = []
    for row in rows:
        scores = {task: _against(row, full, task, condition) for task in row.chosen}
        scores = {task: score for task, score in scores.items() if score}
        if scores:
            trained = {task: row.group(task).first.trained for task in scores}
            dots += [(trained[task], score.mean) for task, score in scores.items()]
            found.append((statistics.fmean(trained.values()), list(scores.values()), row.label))
    if not found:
        return None
    xs = [x for x, _, _ in found]
    marks = [_mark(row) for row in rows if any(row.label == label for _, _, label in found)]
    label = _line_label(method)
    several = max(len(scores) for _, scores, _ in found) > 1
    if not several:
        return _series(label, method, xs, [scores[0] for _, scores, _ in found], marks)
    means = [[score.mean for score in scores] for _, scores, _ in found]
    low, middle, high = np.array([np.percentile(each, _PERCENTILES) for each in means]).T
    return Series(
        label, method, xs, list(middle), list(low), list(high), marks, band=True, dots=dots
    )


def _against(row: Row, full: Row, task: str, condition: Condition) -> Score | None:
    """Returns the difference to full fine-tuning on a task; its spread is over paired seeds."""
    ours, theirs = row.group(task), full.group(task)
    if not (ours and theirs):
        return None
    columns = [column for column in condition.columns if column.task == task]
    means, spreads = [], []
    for column in columns:
        first, second = points(ours, column.split), points(theirs, column.split)
        if first and second:
            means.append(statistics.fmean(first.values()) - statistics.fmean(second.values()))
            spreads.append(differences(first, second))
    if not means:
        return None
    paired = [statistics.fmean(each) for each in zip(*spreads, strict=True)]
    deviation = statistics.stdev(paired) if len(paired) > 1 else None
    return Score(statistics.fmean(means), deviation, len(paired))


def _widths(rows: Sequence[Row], method: str, column: Column) -> Series | None:
    found = [(row, row.score(column)) for row in rows]
    found = [(row, score) for row, score in found if score]
    if not found:
        return None
    xs = [row.group(column.task).first.trained for row, _ in found]
    scores = [score for _, score in found]
    return _series(_line_label(method), method, xs, scores, [_mark(row) for row, _ in found])


def _by_examples(conditions: Sequence[Condition], column: Column) -> list[Series]:
    """Returns a line for each method; sizes that one of the conditions lacks do not compete."""
    sizes: dict[str, list[set[str]]] = {}
    for condition in conditions:
        of_task = [run for run in condition.runs if condition.task_of(run) == column.task]
        for method in {run.method for run in of_task}:
            labels = {run.label for run in of_task if run.method == method}
            sizes.setdefault(method, []).append(labels)
    shared = {method: set.intersection(*found) for method, found in sizes.items()}
    lines: dict[str, dict[float, Score]] = {}
    labels: dict[str, str] = {}
    for condition in conditions:
        for row in method_rows(condition, lambda run: run.label in shared.get(run.method, ())):
            group, score = row.group(column.task), row.score(column)
            if group and score:
                lines.setdefault(row.role, {})[group.first.results["examples"]["train"]] = score
                labels[row.role] = row.label
    return [
        _series(labels[role], role, sorted(found), [found[x] for x in sorted(found)])
        for role, found in lines.items()
    ]


def _series(
    label: str,
    role: str,
    xs: Iterable[float],
    scores: Sequence[Score],
    marks: Sequence[str] = (),
) -> Series:
    spread = [(s.mean, s.deviation) for s in scores]
    low = [None if sd is None else mean - sd for mean, sd in spread]
    high = [None if sd is None else mean + sd for mean, sd in spread]
    count = sorted({score.count for score in scores})
    seeds = f"{count[0]}" if len(count) == 1 else f"{count[0]} to {count[-1]}"
    named = f"{label} ({seeds} seed{'s' if seeds != '1' else ''})"
    return Series(named, role, list(xs), [s.mean for s in scores], low, high, marks)


def _seeds(series: Sequence[Series]) -> str:
    several = any(low is not None for line in series for low in line.low)
    return f"means over seeds; {_BARS}" if several else "of one seed each"


def _mark(row: Row) -> str:
    run = next(iter(row.chosen.values())).chosen.first
    return str(run.top_layers) if run.top_layers else width_label(run.insertion or {})


def _line_label(method: str) -> str:
    return {"top_layers": "fine-tuning of the top layers"}.get(method, method)


def _points_of(column: Column) -> str:
    return f"{column.split} {column.metric.replace('_', ' ')}, points"


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text)
