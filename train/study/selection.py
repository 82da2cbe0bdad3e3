"""Which runs differ only in their seed, and which settings their dev splits choose."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from train.study.labels import WIDTH_FIELDS, complete
from train.study.runs import Run

# Settings by which a method has variants of its own, and which may be chosen on request.
WIDTHS = ("adapter_size", "top_layers")
# Of the parts of `config.json`, what is no setting of the training.
_APART = ("encoder", "init_adapter", "seed", "max_train_examples", "rematerialize")


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but their seed.

    Args:
      runs: at least one, by seed.
    """

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """One of the runs, for what all have in common."""
        return self.runs[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The runs' seeds, in order."""
        return tuple(run.seed for run in self.runs)

    @property
    def settings(self) -> dict[str, Any]:
        """What was set of the training: the learning rate, epochs and so on."""
        return settings(self.first)

    def scores(self, split: str = "dev") -> list[float]:
        """Returns each run's main metric on a split.

        Raises:
          KeyError: a run was not evaluated on it.
        """
        return [run.score(split) for run in self.runs]

    def mean(self, split: str = "dev") -> float:
        """Returns the mean of `scores`."""
        return statistics.fmean(self.scores(split))

    def deviation(self, split: str = "dev") -> float | None:
        """Returns the standard deviation of `scores` over the seeds; `None` for one seed.

        It is that of a sample: its squares are divided by one less than the number of seeds.
        """
        scores = self.scores(split)
        return statistics.stdev(scores) if len(scores) > 1 else None


@dataclasses.dataclass(frozen=True, eq=False)
class Selected:
    """The settings that the dev split chose.

    Args:
      chosen: the runs with them.
      tried: all that they were chosen from, the best first.
    """

    chosen: Group
    tried: tuple[Group, ...]


def best(runs: Iterable[Run], across: Collection[str] = ()) -> list[Selected]:
    """Chooses, for each method on each task, the settings with the best score on dev.

    Runs that differ only in their seed are one group, whose score is the mean of its runs' main
    metrics. Groups with the same task, examples, encoder and method compete, whatever else was
    set: the learning rate, epochs, and so on. Where they have seeds in common, those alone
    count, so that a setting is no better for having been tried less often. Other splits than
    dev are not looked at.

    Args:
      runs: finished runs; of two with equal settings and seed the first counts.
      across: of `WIDTHS`, what is chosen too: with `("adapter_size",)` adapters of all sizes
        compete.

    Returns:
      One for each method on each task, in the order of their first runs.

    Raises:
      ValueError: `across` names something else.
    """
    if not set(across) <= set(WIDTHS):
        raise ValueError(f"`across` must be of {WIDTHS}. Received: {tuple(across)}")
    competing: dict[str, list[Group]] = {}
    for group in groups(runs):
        competing.setdefault(_key(identity(group.first, across)), []).append(group)
    return [_choose(found) for found in competing.values()]


def groups(runs: Iterable[Run]) -> list[Group]:
    """Puts together the runs that differ in nothing but their seed.

    Returns:
      The groups, in the order of their first runs. Of two runs with one seed the first counts.
    """
    by_settings: dict[str, dict[int, Run]] = {}
    for run in runs:
        alike = by_settings.setdefault(_key([identity(run), settings(run)]), {})
        alike.setdefault(run.seed, run)
    return [Group(tuple(found[seed] for seed in sorted(found))) for found in by_settings.values()]


def identity(run: Run, across: Collection[str] = ()) -> dict[str, Any]:
    """Returns what tells a run from others that it does not compete with.

    Args:
      run: the run.
      across: what is left out, see `best`.
    """
    insertion = complete(run.insertion) if run.insertion else {}
    top_layers = run.top_layers
    if "adapter_size" in across:
        for name in WIDTH_FIELDS:
            insertion.pop(name, None)
    if "top_layers" in across:
        top_layers = None
    return {
        "task": run.task,
        "data": run.config.get("data"),
        "max_train_examples": run.max_train_examples,
        "encoder": run.config.get("encoder") or run.encoder,
        "method": run.method,
        "insertion": insertion,
        "trains": run.trains,
        "top_layers": top_layers,
        "init_adapter": run.config.get("init_adapter"),
    }


def settings(run: Run) -> dict[str, Any]:
    """Returns what was set of a run's training, by flag."""
    parts: Mapping[str, Any] = {
        **run.config["model"],
        **run.config["fit"],
        **{f"search_{name}": value for name, value in (run.config.get("search") or {}).items()},
    }
    return {name: value for name, value in parts.items() if name not in _APART}


def _choose(found: list[Group]) -> Selected:
    shared = set.intersection(*(set(group.seeds) for group in found))

    def score(group: Group) -> float:
        return statistics.fmean(
            run.score() for run in group.runs if not shared or run.seed in shared
        )

    # Equal scores are told apart by the settings, so that the order of folders decides nothing.
    ranked = sorted(found, key=lambda group: (-score(group), -len(group.runs), _key_of(group)))
    return Selected(ranked[0], tuple(ranked))


def _key_of(group: Group) -> str:
    return _key([identity(group.first), group.settings])


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
