"""The finished runs below a folder, and the commands that make them again."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from keras_adapters.methods.bottleneck import AdapterConfig
from train.config import RunConfig
from train.study.labels import method_label
from train.tasks.table import TASKS

SETTINGS, RESULTS, ABLATION = "config.json", "results.json", "ablation.json"
_NUMBERS = ("seed", "adapter_bytes", "seconds", "peak_memory_bytes")
_PARAMETERS = ("total", "trained", "trained_percent")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A finished run: what its folder says of it.

    Args:
      path: its folder.
      config: what `config.json` holds: the settings, settled.
      results: what `results.json` holds.
    """

    path: pathlib.Path
    config: Mapping[str, Any] = dataclasses.field(repr=False)
    results: Mapping[str, Any] = dataclasses.field(repr=False)

    @property
    def task(self) -> str:
        """A key of `train.tasks.table.TASKS`."""
        return self.results["task"]

    @property
    def method(self) -> str:
        """The method's name, as of `--method`."""
        return self.results["method"]

    @property
    def insertion(self) -> Mapping[str, Any] | None:
        """Settings of what the method inserts, with its `type`; `None` if it inserts nothing."""
        return (self.config["method"] or {}).get("insertion")

    @property
    def label(self) -> str:
        """What its method is called in tables: `adapters 64, parallel`, `top 2 layers`."""
        label = method_label(self.method, self.insertion, self.top_layers, self.trains)
        start = self.config["model"].get("init_adapter")
        return f"{label}, from {start}" if start else label

    @property
    def trains(self) -> str | None:
        """Which part of the pretrained encoder trains, of `keras_adapters.methods.method.PARTS`."""
        return (self.config["method"] or {}).get("trains")

    @property
    def top_layers(self) -> int | None:
        """How many blocks train, of `--method=top_layers`."""
        return (self.config["method"] or {}).get("top_layers")

    @property
    def seed(self) -> int:
        """The seed of data order, initial values and dropout."""
        return self.results["seed"]

    @property
    def encoder(self) -> str | None:
        """The encoder as `--encoder` named it; `None` of a search, which takes none."""
        return None if self.config.get("search") else self.config["model"]["encoder"]

    @property
    def max_train_examples(self) -> int | None:
        """The most examples that it was to train on; `None` is all."""
        return self.config["fit"].get("max_train_examples")

    @property
    def metric(self) -> str:
        """Name of the task's main metric."""
        return TASKS[self.task].metrics[0]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that it was evaluated on."""
        return tuple(self.results["metrics"])

    def score(self, split: str = "dev") -> float:
        """Returns the main metric on a split; 1 is the best there is.

        Raises:
          KeyError: it was not evaluated on that split.
        """
        return self.results["metrics"][split][self.metric]

    @property
    def trained(self) -> int:
        """Number of parameters that training changed, the head's among them."""
        return self.results["parameters"]["trained"]


def read_runs(folder: str | os.PathLike) -> tuple[list[Run], list[str]]:
    """Reads the finished runs in and below a folder.

    Args:
      folder: where to look, at any depth. A run's own folder is not looked into further.

    Returns:
      The runs, by path, and for each folder that begins like a run's but is not a finished one
      a sentence that says why it is left out.

    Raises:
      NotADirectoryError: there is no such folder.
    """
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{folder} is not a folder")
    runs: list[Run] = []
    left_out: list[str] = []
    for path in _run_folders(folder, left_out):
        try:
            runs.append(_read_run(path))
        except (OSError, ValueError) as error:
            left_out.append(f"{path}: {error}")
    return runs, left_out


def command(run: Run) -> list[str]:
    """Returns the flags of `python -m train.run` that make a run again.

    They are those that differ from the flags' defaults, and those whose defaults depend on
    the task, the method or the encoder.
    """
    flags = {"task": run.task, **_method_flags(run)}
    for field in dataclasses.fields(RunConfig):
        kind = field.default_factory
        if dataclasses.is_dataclass(kind):
            flags |= _differing(kind, run.config.get(field.name) or {})
    search = run.config.get("search") or {}
    flags |= {f"search_{name}": value for name, value in search.items()}
    return [f"--{name}={_text(value)}" for name, value in flags.items() if value is not None]


def _run_folders(folder: str | os.PathLike, unreadable: list[str]) -> Iterator[pathlib.Path]:
    def note(error: OSError) -> None:
        unreadable.append(f"{error.filename}: it cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=note):
        path = pathlib.Path(place)
        if RESULTS in files or (SETTINGS in files and _may_be_settings(path)):
            yield path
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _may_be_settings(path: pathlib.Path) -> bool:
    """Whether `config.json` is of a run; an encoder's folder has one too."""
    try:
        return "task" in _read(path, SETTINGS, "")
    except (OSError, ValueError):
        return True


def _read_run(path: pathlib.Path) -> Run:
    results = _read(path, RESULTS, "it has not finished: there is no results.json")
    config = _read(path, SETTINGS, "there is no config.json, so its settings are not known")
    run = Run(path, config, results)
    problem = _problem_of_settings(config) or _problem_of_results(config, results)
    if problem:
        raise ValueError(problem)
    return run


def _read(path: pathlib.Path, name: str, missing: str) -> dict[str, Any]:
    try:
        content = json.loads((path / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(missing) from error
    except OSError as error:
        raise OSError(f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is damaged") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} is not a run's")
    return content


def _problem_of_settings(config: Mapping[str, Any]) -> str | None:
    parts = ("files", "model", "fit", "keep")
    mappings = isinstance(config.get("method"), Mapping | None) and all(
        isinstance(config.get(part), Mapping) for part in parts
    )
    if not mappings or not isinstance(config["model"].get("encoder"), str):
        return f"{SETTINGS} is not a run's"
    if not _is_number(config["fit"].get("seed")):
        return f"{SETTINGS} names no seed"
    return None


def _problem_of_results(config: Mapping[str, Any], results: Mapping[str, Any]) -> str | None:
    task = results.get("task")
    if task not in TASKS:
        return f"there is no task {task!r}"
    if (task, results.get("seed")) != (config.get("task"), config["fit"]["seed"]):
        return f"{SETTINGS} and {RESULTS} are of different runs"
    try:
        numbers = {name: results[name] for name in _NUMBERS}
        numbers |= {name: results["parameters"][name] for name in _PARAMETERS}
        numbers["train's size"] = results["examples"]["train"]
        scores = results["metrics"]
        for split in dict.fromkeys(("dev", *scores)):
            numbers |= {f"{split}'s {m}": scores[split][m] for m in TASKS[task].metrics}
            numbers[f"{split}'s size"] = results["examples"][split]
    except (KeyError, TypeError) as error:
        return (
            f"{RESULTS} lacks {error}" if isinstance(error, KeyError) else f"{RESULTS} is damaged"
        )
    if not isinstance(results.get("method"), str):
        return f"{RESULTS} names no method"
    unusable = [name for name, value in numbers.items() if not _is_number(value)]
    return f"{RESULTS} holds no number for {', '.join(unusable)}" if unusable else None


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _method_flags(run: Run) -> dict[str, Any]:
    """Returns the flags that name a run's method, whatever fields adapters have."""
    flags: dict[str, Any] = {} if run.method == "adapters" else {"method": run.method}
    flags["top_layers"] = run.top_layers
    defaults = {field.name: field.default for field in dataclasses.fields(AdapterConfig)}
    for name, value in (run.insertion or {}).items():
        # The size is always said: its default depends on the task.
        if name != "type" and (name == "size" or not _equal(value, defaults.get(name))):
            flags[f"adapter_{name}"] = value
    if run.insertion and run.trains == "nothing":
        flags["train_layer_norm"] = False
    return flags


def _differing(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    return {
        name: value for name, value in settings.items() if not _equal(value, defaults.get(name))
    }


def _equal(value: Any, default: Any) -> bool:
    """Whether a value read from JSON, which has no tuples, is a default."""
    return value == (list(default) if isinstance(default, tuple) else default)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(value)
        return line.getvalue()
    return str(value)
