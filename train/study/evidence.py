"""What runs show together: which tasks, under which conditions, with which scores."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from train.study.labels import variant
from train.study.runs import Run, command, read_runs
from train.study.selection import Group, Selected, best, groups

NO_ENCODER = "no encoder"
_MARKED = 8  # Digits that tell checksums apart for a person.


@dataclasses.dataclass(frozen=True)
class Score:
    """A score over seeds, in points: percent of the best there is.

    Args:
      mean: the mean.
      deviation: the standard deviation of a sample; `None` of one seed.
      count: how many seeds.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, points: Sequence[float]) -> Score:
        """Sums up one number per seed."""
        deviation = statistics.stdev(points) if len(points) > 1 else None
        return cls(statistics.fmean(points), deviation, len(points))


@dataclasses.dataclass(frozen=True, order=True)
class Column:
    """What one column of scores is of.

    Args:
      task: the task's name in tables.
      split: on which of its splits.
      metric: the name of its main metric.
    """

    task: str
    split: str
    metric: str

    @property
    def title(self) -> str:
        """The column's heading."""
        return f"{self.task}, {self.split} {self.metric.replace('_', ' ')}"


@dataclasses.dataclass(frozen=True, eq=False)
class Condition:
    """Runs that tables may hold against each other: one encoder, one limit of examples.

    Args:
      encoder: its name.
      examples: the most training examples; `None` is all.
      runs: those under this condition.
      task_of: gives the name of a run's task in tables.
    """

    encoder: str
    examples: int | None
    runs: tuple[Run, ...]
    task_of: Callable[[Run], str]

    @property
    def title(self) -> str:
        """The condition in words."""
        shown = "all" if self.examples is None else f"at most {self.examples:,}"
        return f"{self.encoder}, {shown} training examples"

    @property
    def slug(self) -> str:
        """The condition as a part of a file's name."""
        name = "".join(c if c.isascii() and c.isalnum() else "_" for c in self.encoder)
        return f"{name}-{self.examples or 'all'}"

    @property
    def columns(self) -> list[Column]:
        """What is reported: the test splits, and of tasks without one those that it has."""
        return sorted({c for run in self.runs for c in columns_of(run, self.task_of(run))})

    @property
    def tasks(self) -> list[str]:
        """The tasks' names, in order."""
        return sorted({self.task_of(run) for run in self.runs})

    def select(
        self, keep: Callable[[Run], bool], across: Sequence[str] = ()
    ) -> dict[str, list[Selected]]:
        """Chooses settings on dev, see `best`, and returns what was chosen by task."""
        chosen: dict[str, list[Selected]] = {}
        for selected in best(filter(keep, self.runs), across):
            chosen.setdefault(self.task_of(selected.chosen.first), []).append(selected)
        return chosen


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """All that is reported on.

    Args:
      runs: the runs by path, each once.
      left_out: a sentence for each folder that was left out.
    """

    runs: tuple[Run, ...]
    left_out: tuple[str, ...]

    @property
    def conditions(self) -> list[Condition]:
        """The conditions that there are runs of: by encoder, those of all examples first.

        Runs without an encoder are beside those of every encoder.
        """
        task_of, encoder_of = self.task_names(), self.encoder_names()
        found: dict[tuple[str, int | None], list[Run]] = {}
        for run in self.runs:
            if run.encoder is not None:
                found.setdefault((encoder_of(run), run.max_train_examples), []).append(run)
        for run in self.runs:
            if run.encoder is None:
                limit = run.max_train_examples
                homes = [key for key in found if key[1] == limit]
                for key in homes or [(NO_ENCODER, limit)]:
                    found.setdefault(key, []).append(run)
        order = sorted(found, key=lambda key: (key[0], key[1] is not None, -(key[1] or 0)))
        return [Condition(*key, tuple(found[key]), task_of) for key in order]

    def task_names(self) -> Callable[[Run], str]:
        """Returns what gives a run's task a name; other examples have another."""
        return _names(self.runs, _task_name, _task_checksum)

    def encoder_names(self) -> Callable[[Run], str]:
        """Returns what gives a run's encoder a name; other weights have another."""
        return _names(self.runs, lambda run: run.encoder or NO_ENCODER, _encoder_checksum)


def gather(folders: Iterable[str | os.PathLike]) -> Evidence:
    """Reads the finished runs below folders, each once.

    Raises:
      ValueError: there is none.
      NotADirectoryError: there is no such folder.
    """
    folders = list(folders)
    found: dict[pathlib.Path, Run] = {}
    left_out: dict[str, None] = {}
    for folder in folders:
        below, sentences = read_runs(folder)
        for run in below:
            found.setdefault(run.path.resolve(), run)
        left_out |= dict.fromkeys(sentences)
    runs = [found[path] for path in sorted(found)]
    kept = {run for group in groups(runs) for run in group.runs}
    for run in runs:
        if run not in kept:
            left_out[f"{run.path}: it is the same run as another that is reported"] = None
    if not kept:
        where = ", ".join(map(str, folders))
        why = f"; left out:\n  {chr(10).join(left_out)}".replace("\n", "\n  ") if left_out else ""
        raise ValueError(f"--runs={where} holds no finished run of train.run{why}")
    return Evidence(tuple(run for run in runs if run in kept), tuple(left_out))


def columns_of(run: Run, task: str) -> list[Column]:
    """Returns what is reported of a run: its test split, or without one all that it has."""
    splits = ("test",) if "test" in run.splits else run.splits
    return [Column(task, split, run.metric) for split in splits]


def points(group: Group, split: str) -> dict[int, float]:
    """Returns a group's scores on a split by seed, in points; none of a split it has not."""
    return {run.seed: 100 * run.score(split) for run in group.runs if split in run.splits}


def is_default(run: Run, but: Collection[str] = ()) -> bool:
    """Whether a run is of a method itself and not of a variant of it.

    Args:
      run: the run.
      but: fields of adapters that may differ.
    """
    varied = set(variant(run.insertion)) - set(but) if run.insertion else set()
    started = run.config["model"].get("init_adapter")
    return not varied and not started and not (run.insertion and run.trains == "nothing")


def same_size(run: Run) -> int | None:
    """Returns the width of adapters that is one number, else `None`."""
    size = (run.insertion or {}).get("size")
    return size if isinstance(size, int) else None


def command_line(run: Run) -> list[str]:
    """Returns the whole command that makes a run again."""
    return [*shlex.split("python -m train.run"), *command(run)]


def _task_name(run: Run) -> str:
    file = run.config["files"].get("train_file")
    return f"{run.task} {pathlib.PurePath(file).stem}" if file else run.task


def _task_checksum(run: Run) -> tuple[str, str] | None:
    data = run.config.get("data")
    return None if data is None else (run.task, str(data))


def _encoder_checksum(run: Run) -> tuple[str, str] | None:
    encoder = run.config.get("encoder")
    return None if encoder is None else ("", str(encoder))


def _names(
    runs: Sequence[Run],
    name: Callable[[Run], str],
    checksum: Callable[[Run], tuple[str, str] | None],
) -> Callable[[Run], str]:
    """Returns a naming: what is the same has its first name, what is not has another."""
    first: dict[tuple[str, str], str] = {}
    for run in runs:
        if (key := checksum(run)) is not None:
            first.setdefault(key, name(run))
    uses = Counter(first.values())

    def naming(run: Run) -> str:
        key = checksum(run)
        if key is None:
            return name(run)
        return first[key] if uses[first[key]] < 2 else f"{first[key]} ({key[1][:_MARKED]})"

    return naming
