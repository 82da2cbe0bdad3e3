"""The grids that a sweep can be given by name, those of Houlsby et al. 2019, or in a file."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from train.study.plan import ALL, AXES, SET_BY_SWEEP, Block
from train.study.run_flags import RunFlags
from train.tasks import published

_SUFFIXES = (".yaml", ".yml", ".json")
_GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
_EXTRA = ("20_newsgroups", *published.SOURCES)
_EXTRA_FIT = {
    "learning_rates": ("1e-05", "3e-05", "0.0001", "0.003"),
    "epochs_grid": ("20", "50", "100"),
}

GRIDS: Mapping[str, tuple[Block, ...]] = {
    # Section 3.2, of BERT-large; WNLI is left out there.
    "houlsby_glue": (
        Block(
            _GLUE,
            axes={
                "adapter_sizes": ("8", "64", "256"),
                "learning_rates": ("3e-05", "0.0003", "0.003"),
                "epochs_grid": ("3", "20"),
            },
            seeds=5,
        ),
    ),
    # Section 3.3, of BERT-base. Table 2 has full fine-tuning beside the variable one.
    "houlsby_extra": (
        Block(
            _EXTRA,
            ("adapters", "top_layers", "full"),
            axes={
                "adapter_sizes": ("2", "4", "8", "16", "32", "64"),
                "top_layers": ("1", "2", "3", "5", "7", "9", "11", "12"),
                **_EXTRA_FIT,
            },
        ),
    ),
    # Section 3.5.
    "houlsby_squad": (
        Block(
            ("squad",),
            axes={
                "adapter_sizes": ("2", "8", "64", "256"),
                "learning_rates": ("3e-05", "0.0001", "0.0003", "0.001"),
                "epochs_grid": ("3", "10", "20"),
            },
        ),
        Block(
            ("squad",),
            ("full",),
            axes={
                "learning_rates": ("3e-05", "5e-05", "0.0001"),
                "epochs_grid": ("2", "3", "5"),
            },
        ),
    ),
}


def read_grid(name: str) -> tuple[Block, ...]:
    """Returns the blocks of a grid.

    Args:
      name: a key of `GRIDS`, or a YAML or JSON file: a list of blocks, each an object with the
        keys `tasks` and, where wanted, `methods`, the names of `AXES`, `seeds` and `flags`: an
        object of further flags of `train.run`, with one value or a list of them for each. Where
        a list is expected one value may stand alone.

    Raises:
      ValueError: it is neither, or a block is wrong.
      OSError: the file cannot be read.
    """
    if name in GRIDS:
        return GRIDS[name]
    path = pathlib.Path(name)
    if path.suffix not in _SUFFIXES:
        raise ValueError(
            f"--grid must be one of {', '.join(GRIDS)}, or a file whose name ends in "
            f"{', '.join(_SUFFIXES)}. Received: {name!r}"
        )
    blocks = _load(path)
    if not isinstance(blocks, list) or not blocks:
        raise ValueError(f"--grid={name} must hold a list of blocks")
    run_flags = RunFlags()
    found = []
    for number, block in enumerate(blocks, 1):
        try:
            found.append(_read_block(block, run_flags))
        except ValueError as error:
            raise ValueError(f"--grid={name}, block {number}: {error}") from error
    return tuple(found)


def restrict(
    blocks: Sequence[Block], tasks: Sequence[str] | None = None, seeds: int | None = None
) -> tuple[Block, ...]:
    """Returns blocks with some of their tasks, or with another number of seeds.

    Raises:
      ValueError: there is no such task in them.
    """
    there = list(dict.fromkeys(task for block in blocks for task in block.tasks))
    unknown = [task for task in tasks or () if task not in there]
    if unknown:
        raise ValueError(
            f"--tasks must be of the grid's, which are {', '.join(there)}. Received: {unknown[0]!r}"
        )
    found = []
    for block in blocks:
        wanted = tuple(task for task in block.tasks if tasks is None or task in tasks)
        if wanted:
            found.append(dataclasses.replace(block, tasks=wanted, seeds=seeds or block.seeds))
    return tuple(found)


def make_block(
    tasks: Sequence[Any],
    methods: Sequence[Any],
    axes: Mapping[str, Sequence[Any]],
    seeds: int,
    flags: Mapping[str, Sequence[Any]],
    run_flags: RunFlags,
) -> Block:
    """Makes a block of values as they are given, checked one by one and written in one way.

    Raises:
      ValueError: a value is none that its flag takes, or as `Block` says.
    """

    def texts(name: str, flag: str, values: Sequence[Any]) -> tuple[str, ...]:
        try:
            return tuple(
                ALL if (flag, value) == ("max_train_examples", ALL) else run_flags.text(flag, value)
                for value in values
            )
        except ValueError as error:
            raise ValueError(f"--{name}: {error}") from error

    return Block(
        texts("tasks", "task", tasks),
        texts("methods", "method", methods),
        {
            axis.name: texts(axis.name, axis.flag, axes[axis.name])
            for axis in AXES
            if axis.name in axes
        },
        seeds,
        {name: texts(name, name, values) for name, values in flags.items()},
    )


def _load(path: pathlib.Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OSError(f"--grid={path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"--grid={path} is not UTF-8") from error
    load: Callable[[str], Any] = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        return load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--grid={path} is malformed: {reason}") from error


def _read_block(block: Any, run_flags: RunFlags) -> Block:
    known = ("tasks", "methods", *(axis.name for axis in AXES), "seeds", "flags")
    if not isinstance(block, dict):
        raise ValueError(f"a block is an object with some of the keys {', '.join(known)}")
    unknown = [key for key in block if key not in known]
    if unknown:
        raise ValueError(
            f"there is no key {unknown[0]!r}; the keys are {', '.join(known)}, and further flags "
            "of train.run stand below `flags`"
        )
    if "tasks" not in block:
        raise ValueError("it must name `tasks`")
    flags = block.get("flags", {})
    if not isinstance(flags, dict):
        raise ValueError(f"`flags` must be an object of flags and values. Received: {flags!r}")
    for name in flags:
        if name in SET_BY_SWEEP:
            raise ValueError(f"`{name}` cannot stand below `flags`: {_instead(name)}")
    seeds = block.get("seeds", 1)
    if not isinstance(seeds, int) or isinstance(seeds, bool):
        raise ValueError(f"`seeds` must be how many there are. Received: {seeds!r}")
    return make_block(
        _as_list(block["tasks"]),
        _as_list(block.get("methods", "adapters")),
        {axis.name: _as_list(block[axis.name]) for axis in AXES if axis.name in block},
        seeds,
        {name: _as_list(values) for name, values in flags.items()},
        run_flags,
    )


def _instead(flag: str) -> str:
    if flag == "output_dir":
        return "each run has a folder of its own"
    return f"name it with `{SET_BY_SWEEP[flag]}`"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
