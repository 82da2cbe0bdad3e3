"""A run's state on disk, so that it can go on from where it was."""

from __future__ import annotations

import pathlib
import re
import shutil
import warnings

import numpy as np
import tensorflow as tf
import tf_keras

_STEM = "step-"


class TrainingCheckpoints:
    """The last few states of a training: what trains, the optimiser's slots, the step.

    The step says which batch comes next and which dropout masks (`input_pipeline`,
    `dropout`), so nothing else is needed to go on exactly.

    Args:
      folder: of the checkpoints, in TensorFlow's format; made when the first is written.
      model: compiled with an optimiser. What is frozen is not written.
      keep: how many to keep.
      writes: whether this process writes; one of several workers does.

    Attributes:
      writes: the argument.
    """

    def __init__(
        self, folder: pathlib.Path, model: tf_keras.Model, keep: int = 2, writes: bool = True
    ) -> None:
        self._folder = folder
        self._keep = keep
        self.writes = writes
        if writes:
            # Of a write that was cut off; whole ones are renamed.
            for rest in folder.glob(f"{_STEM}*_temp"):
                shutil.rmtree(rest)
        self._optimizer = model.optimizer
        with model.distribute_strategy.scope():  # The slots are mirrored as the model is.
            self._optimizer.build(model.trainable_variables)
        self._trained = list(model.trainable_variables)
        self._checkpoint = tf.train.Checkpoint(trained=self._trained, optimizer=self._optimizer)

    @property
    def step(self) -> int:
        """Number of steps that the model has been trained."""
        return int(self._optimizer.iterations.numpy())

    def save(self) -> None:
        """Writes the present state and removes the oldest beyond `keep`.

        Raises:
          FloatingPointError: a variable is not finite; nothing was written.
          OSError: the state cannot be written; earlier ones are left as they were.
        """
        path = self._path(self.step)
        if not self.writes or path.with_suffix(".index").exists():
            return
        broken = [v.name for v in self._trained if not np.isfinite(v.numpy()).all()]
        if broken:
            raise FloatingPointError(
                f"after step {self.step} {len(broken)} trained variables are not finite, such as "
                f"{broken[0]}. Try a lower --learning_rate, in another --output_dir"
            )
        try:
            self._checkpoint.write(str(path))
        except (tf.errors.OpError, OSError) as error:
            self._remove(path)
            raise OSError(
                f"the checkpoint {path} cannot be written: {error}. Earlier checkpoints are left "
                "as they were: make room, then run the same command to go on"
            ) from error
        for step in self._steps()[: -self._keep]:
            self._remove(self._path(step))

    def restore(self) -> int:
        """Restores the newest state that is whole; warns of each that is not, and removes it.

        Left there, a damaged one would take the place of a good one among those kept.

        Returns:
          The step of the state, 0 if there is none and nothing was changed.
        """
        for step in reversed(self._steps()):
            path = self._path(step)
            try:
                _read_whole(path)
            except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
                warnings.warn(f"{path} is damaged and is removed: {error}", stacklevel=2)
                if self.writes:
                    self._remove(path)
                continue
            self._checkpoint.read(str(path)).assert_consumed()
            return step
        return 0

    def _path(self, step: int) -> pathlib.Path:
        return self._folder / f"{_STEM}{step}"

    def _steps(self) -> list[int]:
        names = [re.fullmatch(rf"{_STEM}(\d+)\.index", p.name) for p in self._folder.glob("*")]
        return sorted(int(name[1]) for name in names if name)

    def _remove(self, path: pathlib.Path) -> None:
        # The index first: without it the rest is no checkpoint.
        for file in sorted(self._folder.glob(f"{path.name}.*"), key=lambda p: p.suffix != ".index"):
            file.unlink()


def _read_whole(path: pathlib.Path) -> None:
    """Reads every tensor, which compares each with its checksum."""
    reader = tf.train.load_checkpoint(str(path))
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
