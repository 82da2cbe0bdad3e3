"""The folder of one run: what it holds, and whether a run may go on in it."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from keras_adapters.atomic import write_text
from train.config import RunConfig

_SETTINGS = "config.json"
_RESULTS = "results.json"
# Where and how often a run is kept, not what it is: a moved folder is still the same run.
_KEEPING = ("output_dir", "checkpoint_minutes", "keep_checkpoints", "tpu")


class RunFolder:
    """The files of one run.

    Args:
      config: the run; its `output_dir` is the folder, made if it is not there.
      data: a fingerprint of the task's examples, of which the run is part.

    Raises:
      ValueError: the folder holds a run with other settings, which are listed, or a
        `config.json` that is not a run's.
      OSError: the folder cannot be written.

    Attributes:
      adapter, saved_model, checkpoints, logs, predictions: paths of the run's outputs.
    """

    def __init__(self, config: RunConfig, data: int) -> None:
        self.path = pathlib.Path(config.output_dir)
        self.adapter = self.path / "adapter"
        self.saved_model = self.path / "saved_model"
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"
        self.predictions = self.path / "predictions"
        settings = {**config.to_json_dict(), "data": data}
        path = self.path / _SETTINGS
        if path.is_file():
            _check_same(path, settings)
        try:
            write_text(path, json.dumps(settings, indent=2) + "\n")
        except OSError as error:
            raise OSError(f"--output_dir={self.path} cannot be written: {error}") from error

    def results(self) -> dict[str, Any] | None:
        """Returns the results of the run if it has finished."""
        path = self.path / _RESULTS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes `results.json`, which marks the run as finished."""
        write_text(self.path / _RESULTS, json.dumps(results, indent=2) + "\n")


def _check_same(path: pathlib.Path, settings: dict[str, Any]) -> None:
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # Not JSON, or not UTF-8.
        earlier = None
    if not isinstance(earlier, dict):
        raise ValueError(
            f"--output_dir={path.parent} holds a {path.name} that is not a run's. "
            "Name another folder, or remove that file"
        )
    differing = [
        f"  {name}: {earlier.get(name)!r} there, {settings.get(name)!r} now"
        for name in sorted({*earlier, *settings} - {*_KEEPING})
        if earlier.get(name) != settings.get(name)
    ]
    if differing:
        raise ValueError(
            f"--output_dir={path.parent} holds a run with other settings:\n"
            + "\n".join(differing)
            + "\nName another folder, or remove that one"
        )
