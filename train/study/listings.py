"""The tables that list: what was chosen of what, and every run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from train.study.evidence import Evidence, Score, command_line, points
from train.study.runs import Run
from train.study.selection import Group, best, settings
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
    task_of, encoder_of = evidence.task_names(), evidence.encoder_names()
    rows = []
    for choice in best(evidence.runs):
        chosen, first = choice.chosen, choice.chosen.first
        order = encoder_of(first), task_of(first), first.method, first.trained, first.label
        row = (
            task_of(first),
            first.label,
            encoder_of(first),
            _examples(first),
            *_settings(first),
            Score.of(list(points(chosen, "dev").values())),
            len(choice.tried),
            sum(len(group.runs) for group in choice.tried),
            _tried(choice.tried),
        )
        rows.append((order, row))
    rows = [row for _, row in sorted(rows, key=lambda item: item[0])]
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
    task_of, encoder_of = evidence.task_names(), evidence.encoder_names()
    rows = []
    for run in evidence.runs:
        found = run.results
        speed = found.get("examples_per_second")
        rows.append(
            (
                task_of(run),
                run.label,
                encoder_of(run),
                _examples(run),
                *_settings(run),
                run.seed,
                *(100 * run.score(s) if s in run.splits else None for s in ("dev", "test")),
                run.trained,
                float(found["seconds"]),
                None if speed is None else float(speed),
                found["peak_memory_bytes"] / 1e9,
                found["adapter_bytes"] / 1e6,
                _machine(found),
                str(run.path),
                shlex.join(command_line(run)),
            )
        )
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


def _settings(run: Run) -> list[Any]:
    """Returns the settings that have columns; those of an encoder's training alone."""
    found = settings(run) if run.encoder else {}
    return [found.get(name) for name in _SETTINGS.values()]


def _examples(run: Run) -> int:
    return run.results["examples"]["train"]


def _tried(groups: Sequence[Group]) -> str:
    """Returns the values of each setting that was varied, and of a search how many it tried."""
    parts = []
    searched = {(group.first.results.get("search") or {}).get("trials") for group in groups}
    if searched - {None}:
        parts.append(f"models in a run: {', '.join(map(str, sorted(searched - {None})))}")
    every = [group.settings for group in groups]
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
    facts = facts if isinstance(facts, dict) else {}  # Earlier runs did not tell.
    version = (found.get("versions") or {}).get("tensorflow")
    parts = [f"{name} {value}" for name, value in facts.items()]
    return ", ".join([*parts, *([f"tensorflow {version}"] if version else [])])
