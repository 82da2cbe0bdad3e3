"""How long runs will take, by those that have finished."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from train.config import RunConfig


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What can be said of the time that runs take.

    Args:
      seconds: of those that something is known of, one after the other.
      known: how many these are.
      unknown: tasks of the others, in order.
    """

    seconds: float
    known: int
    unknown: tuple[str, ...]


def estimate(
    runs: Iterable[RunConfig], finished: Iterable[tuple[RunConfig, Mapping[str, Any]]]
) -> Estimate:
    """Estimates the time of runs by that of finished runs of the same task.

    A run's time is taken to grow with its epochs and its training examples. Of the finished
    runs those with its method count, or if there are none, those of the task.

    Args:
      runs: settings of those to be estimated.
      finished: settings and results of those that are known.
    """
    seconds: dict[Any, float] = collections.defaultdict(float)
    work: dict[Any, float] = collections.defaultdict(float)
    sizes: dict[str, int] = {}
    for config, results in finished:
        examples = results["examples"]["train"]
        if config.fit.max_train_examples is None:
            sizes[config.task] = examples
        for key in (config.task, (config.task, config.method_name)):
            seconds[key] += results["seconds"]
            work[key] += (config.fit.epochs or 1) * examples
    known, total, unknown = 0, 0.0, []
    for config in runs:
        most, whole = config.fit.max_train_examples, sizes.get(config.task)
        examples = min(filter(None, (most, whole)), default=None)
        key = (config.task, config.method_name)
        key = key if work.get(key) else config.task
        if examples and work.get(key):
            total += (config.fit.epochs or 1) * examples * seconds[key] / work[key]
            known += 1
        else:
            unknown.append(config.task)
    return Estimate(total, known, tuple(dict.fromkeys(unknown)))


def in_words(seconds: float) -> str:
    """Returns a time for a person: the two largest of days, hours, minutes and seconds."""
    parts = []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(round(seconds), size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
