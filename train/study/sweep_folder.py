"""The folder of a sweep: its plan, its runs' folders and their logs."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_adapters.atomic import write_text
from train.folder_lock import FolderLock
from train.study.plan import PlannedRun

PLAN = "sweep.json"
_RUNS, _LOGS = "runs", "logs"


class SweepFolder:
    """A sweep's files.

    `sweep.json` holds all runs that were ever planned here, each with its `name` and its
    `flags`. A later plan may have further runs, or lack some, whose folders stay as they are; a
    run of the same name must have the same flags. How far a run is, its own folder says.

    Args:
      path: the folder, which need not be there.

    Raises:
      ValueError: the folder holds something else than a sweep.
      OSError: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = pathlib.Path(path)
        self._planned = self._read()

    def lock(self) -> FolderLock:
        """Keeps other sweeps out; raises OSError if one works here or it cannot be written."""
        lock = FolderLock(self.path, "output_dir")
        try:
            self._planned = self._read()  # It may have grown meanwhile.
        except BaseException:
            lock.close()
            raise
        return lock

    def check(self, runs: Iterable[PlannedRun]) -> None:
        """Raises a ValueError if a run was planned here with other flags."""
        for run in runs:
            earlier = self._planned.get(run.name, run.flags)
            if earlier != run.flags:
                raise ValueError(
                    f"--output_dir={self.path} holds a sweep whose run {run.name} has other "
                    f"flags:\n  there: {' '.join(earlier)}\n  now:   {' '.join(run.flags)}\n"
                    "Name another folder"
                )

    def add(self, runs: Sequence[PlannedRun]) -> None:
        """Writes runs into the plan; call it under the lock.

        Raises:
          ValueError: as `check` does.
          OSError: it cannot be written.
        """
        self.check(runs)
        self._planned |= {run.name: run.flags for run in runs}
        plan = [{"name": name, "flags": list(flags)} for name, flags in self._planned.items()]
        (self.path / _LOGS).mkdir(exist_ok=True)
        (self.path / _RUNS).mkdir(exist_ok=True)
        write_text(self.path / PLAN, json.dumps({"runs": plan}, indent=2) + "\n")

    @property
    def runs(self) -> pathlib.Path:
        """The folder of the runs' folders."""
        return self.path / _RUNS

    def of_run(self, name: str) -> pathlib.Path:
        """Returns a run's folder."""
        return self.path / _RUNS / name

    def log_of(self, name: str) -> pathlib.Path:
        """Returns the file of what a run prints."""
        return self.path / _LOGS / f"{name}.txt"

    def has_begun(self, name: str) -> bool:
        """Whether there is anything of a run."""
        return self.of_run(name).exists()

    def results(self, name: str) -> Mapping[str, Any] | None:
        """Returns the results of a run if it has finished.

        A file that is damaged is none: the run's own command says so when it is started.
        """
        folder = self.of_run(name)
        try:
            results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        whole = isinstance(results, dict) and isinstance(results.get("metrics"), dict)
        return results if whole else None

    def _read(self) -> dict[str, tuple[str, ...]]:
        path = self.path / PLAN
        try:
            runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
            return {run["name"]: tuple(run["flags"]) for run in runs[:]}
        except (FileNotFoundError, NotADirectoryError):
            self._check_empty()
            return {}
        except OSError as error:
            raise OSError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path} is damaged, or not one of train.sweep. Name another --output_dir"
            ) from error

    def _check_empty(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--output_dir must name a folder. Received: {str(self.path)!r}")
        others = sorted(
            entry.name
            for entry in (self.path.iterdir() if self.path.exists() else ())
            if not entry.name.startswith(".")
            and not (entry.name in (_RUNS, _LOGS) and not any(entry.iterdir()))
        )
        if others:
            raise ValueError(
                f"--output_dir={self.path} holds {others[0]}, but no {PLAN}: it is not a sweep's. "
                "Name a new folder, or an empty one"
            )
