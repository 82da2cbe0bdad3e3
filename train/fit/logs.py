"""A training's curves for TensorBoard, which are not worth losing the training for."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

_STEPS = 50  # Between two losses of a batch.
_DEV = "val_"


class TensorBoardLogs(tf_keras.callbacks.Callback):
    """Writes event files, with the tags of Keras's callback of this kind.

    `train` gets `batch_loss` every 50 steps, and `epoch_loss` and `epoch_learning_rate`
    each epoch; `validation` gets the dev metrics as `epoch_<name>`. Unlike Keras's, it
    writes between steps, not within, so a full disk does not break a step: it warns once,
    and the training goes on without logs.

    Args:
      folder: made if it is not there.

    Raises:
      OSError: nothing can be written to the folder.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__()
        self._supports_tf_logs = False
        self._folder = pathlib.Path(folder)
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        self._works = True
        self._last = 0
        try:
            for split in ("train", "validation"):
                self._folder.joinpath(split).mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise PermissionError("no permission to write there")
        except OSError as error:
            raise OSError(
                f"the folder of logs, {self._folder}, cannot be written: {error}. Make room or "
                "remove what stands there, then run the same command again"
            ) from error

    def on_train_begin(self, logs: Any = None) -> None:
        """Sees where training stands; it may go on from a checkpoint."""
        self._last = self._step()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes the loss when a multiple of 50 steps is done."""
        step = self._step()
        if step // _STEPS > self._last // _STEPS:
            self._write("train", {f"batch_{name}": value for name, value in logs.items()}, step)
        self._last = step

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes the epoch's loss, the dev metrics and the learning rate."""
        dev = {name: value for name, value in logs.items() if name.startswith(_DEV)}
        train = {f"epoch_{name}": value for name, value in logs.items() if name not in dev}
        schedule = getattr(self.model.optimizer, "_learning_rate", None)
        if isinstance(schedule, tf_keras.optimizers.schedules.LearningRateSchedule):
            train["epoch_learning_rate"] = schedule(self.model.optimizer.iterations)
        self._write("train", train, epoch)
        dev = {f"epoch_{name.removeprefix(_DEV)}": value for name, value in dev.items()}
        self._write("validation", dev, epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the files."""
        self._close()

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _write(self, split: str, values: Mapping[str, Any], step: int) -> None:
        if not self._works or not values:
            return
        try:
            if split not in self._writers:
                self._writers[split] = tf.summary.create_file_writer(str(self._folder / split))
            with self._writers[split].as_default(step):
                for name, value in values.items():
                    tf.summary.scalar(name, value)
            self._writers[split].flush()
        except (tf.errors.OpError, OSError) as error:
            self._works = False
            reason = str(getattr(error, "message", error)).splitlines()[0]
            warnings.warn(
                f"{self._folder} cannot be written: {reason}. Training goes on without its logs",
                stacklevel=2,
            )
            self._close()

    def _close(self) -> None:
        for writer in self._writers.values():
            try:
                writer.close()
            except (tf.errors.OpError, OSError):
                self._works = False
        self._writers = {}
