"""The tables that list: what was chosen of what, and every run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from train.study.evidence import Evidence, Score, command_line, points
from train.study.runs import Run
from train.study.selection import Group, best
from train.study.table import SCORES, Table

# Settings that have a column of their own, by heading.
_SETTINGS = {
    "learning rate": "learning_rate",
    "epochs": "epochs",
    "batch": "batch_size",
    "length": "max_seq_length",
    "precision": "precision",
}
_RATE = (("learning rate", "g"),)


def selected(evidence: Evidence) -> Table:
    """Returns the settings that dev chose for each method on each task, and what was tried."""
    rows = []
    for condition in evidence.conditions:
        for choice in best(condition.runs):
            chosen, first = choice.chosen, choice.chosen.first
            rows.append(
                (
                    condition.task_of(first),
                    first.label,
                    condition.encoder,
                    _examples(first),
                    *(chosen.settings.get(name) for name in _SETTINGS.values()),
                    Score.of(list(points(chosen, "dev").values())),
                    len(choice.tried),
                    sum(len(group.runs) for group in choice.tried),
                    _tried(choice.tried),
                )
            )
    return Table(
        "selected",
        "Chosen settings",
        f"What the mean score on dev chose for each method on each task. {SCORES} Tried are the "
        "settings that it was chosen from; where they have seeds in common, those alone decided.",
        (
            "task", "method", "encoder", "training examples", *_SETTINGS, "dev", "settings tried",
            "runs", "tried",
        ),
        tuple(rows),
        _RATE,
    )  # fmt: skip


def all_runs(evidence: Evidence) -> Table:
    """Returns every run, with what it cost and the command that makes it again."""
    rows = []
    for condition in evidence.conditions:
        for run in sorted(condition.runs, key=lambda run: (condition.task_of(run), str(run.path))):
            found = run.results
            speed = found.get("examples_per_second")
            rows.append(
                (
                    condition.task_of(run),
                    run.label,
                    condition.encoder,
                    _examples(run),
                    *(run.config["fit"].get(name, run.config["model"].get(name))
                      for name in _SETTINGS.values()),
                    run.seed,
                    *(100 * run.score(split) if split in run.splits else None
                      for split in ("dev", "test")),
                    run.trained,
                    float(found["seconds"]),
                    None if speed is None else float(speed),
                    found["peak_memory_bytes"] / 1e9,
                    found["adapter_bytes"] / 1e6,
                    _machine(found),
                    str(run.path),
                    shlex.join(command_line(run)),
                )
            )  # fmt: skip
    return Table(
        "runs",
        "All runs",
        "Dev and test are the task's main metric, in points. The time is that of the whole run; "
        "training examples a second are those of its steps alone. Memory is the process's at its "
        "most.",
        (
            "task", "method", "encoder", "training examples", *_SETTINGS, "seed", "dev", "test",
            "trained parameters", "seconds", "examples/s", "memory, GB", "adapter, MB", "machine",
            "folder", "command",
        ),
        tuple(rows),
        (*_RATE, ("seconds", ".0f"), ("examples/s", ".1f")),
        commands="command",
    )  # fmt: skip


def _examples(run: Run) -> int | None:
    return run.results["examples"].get("train")


def _tried(groups: Sequence[Group]) -> str:
    """Returns the values of each setting that was varied."""
    every = [group.settings for group in groups]
    parts = []
    for name in every[0]:
        values = {found.get(name) for found in every}
        if len(values) > 1:
            ordered = sorted(values, key=lambda value: (isinstance(value, str), str(value)))
            if all(isinstance(value, int | float) for value in values):
                ordered = sorted(values)
            parts.append(f"{name}: {', '.join(_short(value) for value in ordered)}")
    return "; ".join(parts)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _machine(found: dict[str, Any]) -> str:
    """Returns what a run says of its machine and its software."""
    facts = found.get("machine")
    facts = facts if isinstance(facts, dict) else {}
    version = (found.get("versions") or {}).get("tensorflow")
    parts = [f"{name} {value}" for name, value in facts.items()]
    return ", ".join([*parts, *([f"tensorflow {version}"] if version else [])])
