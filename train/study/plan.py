"""The runs of a sweep: every combination of what its blocks vary, each with a name."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from train.config import NO_BERT, RunConfig
from train.study.run_flags import RunFlags

ALL = "all"  # In place of a number of training examples.
_LONGEST_NAME = 160
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclasses.dataclass(frozen=True)
class Axis:
    """What a sweep varies from run to run.

    Args:
      name: of the sweep's flag, and of the key in a file.
      flag: of the flag of `train.run` that it sets.
      label: what stands in front of the value in the names of runs.
      methods: the only methods that have it; `None` is all.
      without: methods that do not have it.
    """

    name: str
    flag: str
    label: str
    methods: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()

    def goes_with(self, method: str) -> bool:
        """Whether runs of a method differ in it."""
        return method in self.methods if self.methods else method not in self.without


# In the order in which names tell them.
AXES = (
    Axis("adapter_sizes", "adapter_size", "size", methods=("adapters",)),
    Axis("init_stddevs", "adapter_init_stddev", "init", methods=("adapters",)),
    Axis("top_layers", "top_layers", "top", methods=("top_layers",)),
    Axis("learning_rates", "learning_rate", "lr", without=(NO_BERT,)),
    Axis("epochs_grid", "epochs", "epochs", without=(NO_BERT,)),
    Axis("train_sizes", "max_train_examples", "examples"),
)
# Flags of `train.run` that a sweep sets by itself, and the flags of its own that say to what.
SET_BY_SWEEP: Mapping[str, str] = {
    "task": "tasks",
    "method": "methods",
    "seed": "seeds",
    "output_dir": "output_dir",
    **{axis.flag: axis.name for axis in AXES},
}


@dataclasses.dataclass(frozen=True)
class Block:
    """Runs that are every combination of some settings.

    Args:
      tasks: at least one.
      methods: at least one. Each has the axes that go with it and no others.
      axes: values by the names of `AXES`; one that is not there keeps its default.
      seeds: how many; they are 0, 1 and so on.
      flags: values of further flags of `train.run` by the flags' names; of several each makes
        runs of its own.

    Raises:
      ValueError: an axis goes with none of the methods, a method lacks what it needs, there is
        nothing to choose from, or a value is there twice.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...] = ("adapters",)
    axes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    seeds: int = 1
    flags: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self._choices():
            if not values:
                raise ValueError(f"--{name} must name at least one value")
            if len(set(values)) < len(values):
                raise ValueError(f"--{name} must not repeat a value. Received: {','.join(values)}")
        if self.seeds < 1:
            raise ValueError(f"--seeds must be at least 1. Received: {self.seeds}")
        for axis in AXES:
            if axis.name in self.axes and not any(map(axis.goes_with, self.methods)):
                raise ValueError(
                    f"--{axis.name} goes with {_of_methods(axis)}, and none of those is in "
                    f"--methods. Received: --methods={','.join(self.methods)}"
                )
        if "top_layers" in self.methods and "top_layers" not in self.axes:
            raise ValueError("--methods=top_layers needs --top_layers, how many blocks train")

    def _choices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield "tasks", self.tasks
        yield "methods", self.methods
        yield from self.axes.items()
        yield from self.flags.items()


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Args:
      name: of its folder.
      flags: of `train.run`, but for `--output_dir`.
      config: its settings, settled.
    """

    name: str
    flags: tuple[str, ...]
    config: RunConfig


def expand(block: Block, common: Sequence[str] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the name and the flags of each run of a block.

    The seeds of one setting are neighbours. A name tells what the block sets, not what is
    common to all of a sweep, so that a run keeps its name when another value is added.

    Args:
      block: the block.
      common: further flags, the same for all runs.
    """
    for task, method in itertools.product(block.tasks, block.methods):
        axes = [axis for axis in AXES if axis.goes_with(method) and axis.name in block.axes]
        choices = [
            [(axis.flag, axis.label, value) for value in block.axes[axis.name]] for axis in axes
        ]
        choices += [
            [(name, f"{name.removeprefix('adapter_')}_", value) for value in values]
            for name, values in block.flags.items()
        ]
        for chosen in itertools.product(*choices):
            set_here = [
                f"--{flag}={value}"
                for flag, _, value in chosen
                if (flag, value) != ("max_train_examples", ALL)
            ]
            words = [task, method, *(f"{label}{value}" for _, label, value in chosen)]
            for seed in range(block.seeds):
                flags = [f"--task={task}", f"--method={method}", *set_here, f"--seed={seed}"]
                yield _name([*words, f"seed{seed}"]), (*flags, *common)


def plan(blocks: Sequence[Block], common: Sequence[str] = ()) -> list[PlannedRun]:
    """Returns the runs of a sweep, each once and each checked as `train.run` checks it.

    Args:
      blocks: what is to be run.
      common: further flags for all runs.

    Raises:
      ValueError: `train.run` would refuse a run.
      OSError: an encoder or a file of a task is not there.
    """
    run_flags = RunFlags()
    runs: dict[str, PlannedRun] = {}
    for block in blocks:
        for name, flags in expand(block, common):
            try:
                config = run_flags.read(flags)
            except (ValueError, OSError) as error:
                raise type(error)(f"{error}\nThat is of the planned run {name}") from error
            runs.setdefault(_key(config), PlannedRun(name, flags, config))
    return list(runs.values())


def _key(config: RunConfig) -> str:
    """Returns what two runs that are the same have in common."""
    settings: dict[str, Any] = config.to_json_dict()
    del settings["keep"]["output_dir"]
    return json.dumps(settings, sort_keys=True)


def _name(words: Sequence[str]) -> str:
    """Joins words to a folder's name; what no name can hold is told by a digest."""
    exact = "-".join(words)
    name = _NOT_IN_NAMES.sub("_", exact)
    if name == exact and len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


def _of_methods(axis: Axis) -> str:
    if axis.methods:
        return f"--methods={','.join(axis.methods)}"
    return f"all methods but {', '.join(axis.without)}"
