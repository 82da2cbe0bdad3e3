"""The folder of one run: whose it is, what it holds, and what of it is missing."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from keras_adapters.atomic import write_text
from train.config import RunConfig
from train.folder_lock import FolderLock
from train.tasks.table import TASKS

_SETTINGS = "config.json"
_RESULTS = "results.json"
_TRIALS = "trials.json"
# What is read of a run's results: numbers, and tables of numbers.
_NUMBERS = ("seed", "adapter_bytes", "seconds", "peak_memory_bytes")
_PARAMETERS = ("total", "trained", "trained_percent")
# Without these files an output is none.
_ESSENTIAL = {
    "adapter": ("adapter.safetensors",),
    "saved_model": ("saved_model.pb", "variables/variables.index"),
    "predictions": (),
    "model": ("model.skops",),
}


class RunFolder:
    """The files of one run, locked against other processes until `close`.

    What a run is, `RunConfig.identity` says, with the data by its checksum and the encoder
    by its contents. A folder takes one run, however often it is started, from the moment when
    there is anything of it beside its settings.

    Args:
      config: the run, settled; its `output_dir` is the folder, made if it is not there.
      data: a checksum of the task's examples.
      encoder: a checksum of the encoder's files; `None` of a run without one.
      writes: whether this process writes the run's files; of several workers the first does.
      init_adapter: a checksum of the adapter that it starts from, if it starts from one.

    Raises:
      ValueError: the folder holds a run with other settings, which are listed, or a
        `config.json` that is not a run's.
      OSError: the folder cannot be read or written, something else stands where an output is
        to go, or another process works in it.

    Attributes:
      path: the folder.
      adapter, saved_model, checkpoints, logs, predictions: paths of the run's outputs.
      model, trials: of a search's, which has none of the others.
      writes: the argument.
    """

    def __init__(
        self,
        config: RunConfig,
        data: int,
        encoder: str | None,
        writes: bool = True,
        init_adapter: str | None = None,
    ) -> None:
        self.path = pathlib.Path(config.keep.output_dir)
        self.adapter = self.path / "adapter"
        self.saved_model = self.path / "saved_model"
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"
        self.predictions = self.path / "predictions"
        self.model = self.path / "model"
        self.trials = self.path / _TRIALS
        self.writes = writes
        self._config = config
        self._contents = {"data": data, "init_adapter": init_adapter}
        self._settings = {**config.to_json_dict(), **self._contents, "encoder_files": encoder}
        self._fingerprint: str | None = None
        self._lock: FolderLock | None = None
        if not writes:
            return
        try:
            self._lock = FolderLock(self.path, "output_dir")
            self._compare(self._read(_SETTINGS))
            self._check_outputs()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes work in the folder."""
        if self._lock is not None:
            self._lock.close()

    @property
    def knows_encoder(self) -> bool:
        """Whether the encoder's files are those that the run began with, to the byte."""
        return self._fingerprint is not None

    def facts(self) -> dict[str, Any]:
        """Returns, by flag, all in which the workers of one training must not differ."""
        config = self._config
        return {
            **config.identity(),
            "steps_per_execution": config.device.steps_per_execution,
            "predict_test": config.keep.predict_test,
            **self._contents,
            "encoder": self._settings["encoder_files"],
        }

    def check_encoder(self, fingerprint: str) -> None:
        """Keeps the fingerprint of the encoder of a run that begins, or compares it.

        Args:
          fingerprint: of the encoder's contents, in whatever files they came.

        Raises:
          ValueError: the run was begun with another encoder.
          OSError: the folder cannot be written.
        """
        if not self.writes:
            return
        begun = self._read(_SETTINGS) or {}
        earlier = begun.get("encoder")
        known = self.knows_encoder or earlier in (None, fingerprint)
        if not known and self._holds_work():
            raise ValueError(
                f"--encoder={self._config.model.encoder} is not the encoder that the run in "
                f"{self.path} was begun with: its weights or its vocabulary have changed. Name "
                "that one, or another --output_dir"
            )
        self._fingerprint = fingerprint
        self._write(_SETTINGS, {**self._settings, "encoder": fingerprint})

    def results(self) -> dict[str, Any] | None:
        """Returns the results of the run if it has finished.

        Raises:
          ValueError: `results.json` does not hold a run's results.
          OSError: it cannot be read.
        """
        results = self._read(_RESULTS)
        if results is not None and not self._are_complete(results):
            raise self._damaged(_RESULTS)
        return results

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes `results.json`, which marks the run as finished."""
        self._write(_RESULTS, results)

    def missing(self) -> list[str]:
        """Returns the names of the outputs that the settings ask for and the folder lacks."""
        return [name for name in self._wanted() if not self._has(name)]

    def _holds_work(self) -> bool:
        """Whether there is anything to lose: a run may have ended before its first step."""
        outputs = (_RESULTS, _TRIALS, "checkpoints", *_ESSENTIAL)
        paths = (self.path / name for name in outputs)
        return any(path.is_file() or (path.is_dir() and any(path.iterdir())) for path in paths)

    def _wanted(self) -> list[str]:
        keep = self._config.keep
        if self._config.search is not None:
            return ["model"] if keep.export else []
        asked = {"adapter": True, "saved_model": keep.export, "predictions": keep.predict_test}
        return [name for name, is_asked in asked.items() if is_asked]

    def _has(self, name: str) -> bool:
        path = self.path / name
        files = _ESSENTIAL[name]
        return path.is_dir() and any(path.iterdir()) and all((path / f).is_file() for f in files)

    def _check_outputs(self) -> None:
        """Raises OSError where a folder cannot be written for what stands there."""
        for path in (self.path / name for name in (*self._wanted(), "checkpoints", "logs")):
            if os.path.lexists(path) and not path.is_dir():
                raise FileExistsError(
                    f"{path} is not a folder, but a run writes one there. Remove it, or name "
                    "another --output_dir"
                )

    def _are_complete(self, results: dict[str, Any]) -> bool:
        try:
            numbers = [results[name] for name in _NUMBERS]
            numbers += [results["parameters"][name] for name in _PARAMETERS]
            numbers.append(results["examples_per_second"] or 0)  # None, of a run without steps.
            for split, scores in results["metrics"].items():
                numbers += [scores[name] for name in TASKS[self._config.task].metrics]
                numbers.append(results["examples"][split])
        except (KeyError, TypeError, AttributeError):
            return False
        named = results.get("task") == self._config.task and isinstance(results.get("method"), str)
        return named and all(isinstance(number, int | float) for number in numbers)

    def _compare(self, begun: dict[str, Any] | None) -> None:
        if begun is None:
            if self.results() is not None:
                raise ValueError(
                    f"{self.path / _RESULTS} stands there without {_SETTINGS}, so whose results "
                    "they are is not known. Name another --output_dir, or remove that one"
                )
            self._write(_SETTINGS, self._settings)
            return
        try:
            earlier = RunConfig.from_json_dict(begun).identity() | {"data": begun["data"]}
            earlier["init_adapter"] = begun.get("init_adapter")
        except (ValueError, KeyError) as error:
            raise self._damaged(_SETTINGS) from error
        now = self._config.identity() | self._contents
        differing = [
            f"  {name}: {earlier[name]!r} there, {now[name]!r} now"
            for name in now
            if earlier[name] != now[name]
        ]
        if differing and not self._holds_work():
            self._write(_SETTINGS, self._settings)
            return
        if differing:
            raise ValueError(
                f"--output_dir={self.path} holds a run with other settings:\n"
                + "\n".join(differing)
                + "\nName another folder, or remove that one"
            )
        if begun.get("encoder_files") == self._settings["encoder_files"]:
            self._fingerprint = begun.get("encoder")

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OSError(f"{path} cannot be read: {error}") from error
        except (ValueError, RecursionError) as error:  # Not JSON, or not UTF-8.
            raise self._damaged(name) from error
        if not isinstance(content, dict):
            raise self._damaged(name)
        return content

    def _write(self, name: str, content: dict[str, Any]) -> None:
        try:
            write_text(self.path / name, json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise OSError(f"--output_dir={self.path} cannot be written: {error}") from error

    def _damaged(self, name: str) -> ValueError:
        return ValueError(
            f"--output_dir={self.path} holds a {name} that is not a run's, or is damaged. "
            + (
                "Remove that file, and the run is finished from its checkpoints"
                if name == _RESULTS
                else "Name another folder, or remove that file"
            )
        )
