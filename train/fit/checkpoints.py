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
# How TensorFlow names a variable's value in a file.
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_ITERATIONS = f"optimizer/_iterations{_VALUE}"
_CHUNK = 2**24
_SHOWN = 5  # Differences in one error.
# What TensorFlow raises of bytes that are not what was written, of any other kind the base.
_DAMAGES = (
    tf.errors.OpError,
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
)


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

        Raises:
          OSError: a state cannot be read, which says nothing of whether it is whole; it is
            left as it is.
          ValueError: the newest whole state is not one of this model; nothing was changed.
        """
        for step in reversed(self._steps()):
            path = self._path(step)
            try:
                reader = _read_whole(path)
            except _DamageError as error:
                warnings.warn(f"{path} is damaged and is removed: {error}", stacklevel=2)
                if self.writes:
                    self._remove(path)
                continue
            except OSError as error:
                if not path.with_suffix(".index").exists():
                    continue  # Another worker has just removed it.
                raise OSError(
                    f"the checkpoint {path} cannot be read: {error}. Nothing was changed. Mend "
                    f"that and run the same command again; or remove {path}.* to go on from an "
                    "earlier one"
                ) from error
            self._check_structure(path, reader)
            if reader.get_tensor(_ITERATIONS) != step:
                raise ValueError(
                    f"the checkpoint {path} is one of step {reader.get_tensor(_ITERATIONS)}, under "
                    "another name. Give it its own, or remove it"
                )
            self._checkpoint.read(str(path)).assert_consumed()
            return step
        return 0

    def _check_structure(self, path: pathlib.Path, reader: tf.train.CheckpointReader) -> None:
        """Raises ValueError if variables are missing there, or are others."""
        slots = enumerate(self._optimizer.variables)
        own = {f"trained/{index}": variable for index, variable in enumerate(self._trained)}
        own |= {f"optimizer/_variables/{index}": slot for index, slot in slots if index}
        own["optimizer/_iterations"] = self._optimizer.iterations
        expected = {name: (list(v.shape), v.dtype.name) for name, v in own.items()}
        dtypes = reader.get_variable_to_dtype_map()
        found = {
            name.removesuffix(_VALUE): (shape, dtypes[name].name)
            for name, shape in reader.get_variable_to_shape_map().items()
            if name.startswith(("trained/", "optimizer/_variables/", "optimizer/_iterations"))
        }
        differing = [
            f"  {own[name].name if name in own else name}: "
            f"{_say(found.get(name))} there, {_say(expected.get(name))} now"
            for name in sorted({*expected, *found}, key=lambda name: (len(name), name))
            if expected.get(name) != found.get(name)
        ]
        if differing:
            shown = differing[:_SHOWN] + ["  and more"] * (len(differing) > _SHOWN)
            raise ValueError(
                f"the checkpoint {path} is one of another model or optimiser:\n"
                + "\n".join(shown)
                + "\nName another --output_dir, or remove its checkpoints to train from the start"
            )

    def _path(self, step: int) -> pathlib.Path:
        return self._folder / f"{_STEM}{step}"

    def _steps(self) -> list[int]:
        names = [re.fullmatch(rf"{_STEM}(\d+)\.index", p.name) for p in self._folder.glob("*")]
        return sorted(int(name[1]) for name in names if name)

    def _remove(self, path: pathlib.Path) -> None:
        # The index first: without it the rest is no checkpoint.
        for file in sorted(self._folder.glob(f"{path.name}.*"), key=lambda p: p.suffix != ".index"):
            file.unlink()


class _DamageError(Exception):
    """A file's bytes can be read and are not what was written."""


def _read_whole(path: pathlib.Path) -> tf.train.CheckpointReader:
    """Reads every tensor, which compares each with its checksum.

    Raises:
      _DamageError: a checksum or the format is wrong.
      OSError: a file cannot be read.
    """
    _read_bytes(path)
    try:
        reader = tf.train.load_checkpoint(str(path))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
        # TensorFlow says the same of a wrong byte and of a disk that does not answer.
        _read_bytes(path)
        if isinstance(error, tf.errors.OpError) and type(error) not in _DAMAGES:
            raise OSError(str(error)) from error
        raise _DamageError(str(error)) from error
    return reader


def _read_bytes(path: pathlib.Path) -> None:
    """Raises OSError if a file of the checkpoint is not there or cannot be read."""
    shards = list(path.parent.glob(f"{path.name}.data-*-of-*"))
    count = max((int(shard.name.rpartition("-")[2]) for shard in shards), default=1)
    names = [f".data-{index:05}-of-{count:05}" for index in range(count)]
    for file in (path.with_suffix(suffix) for suffix in (".index", *names)):
        with file.open("rb") as stream:
            while stream.read(_CHUNK):
                pass


def _say(variable: tuple[list[int], str] | None) -> str:
    return f"{variable[1]}{variable[0]}" if variable else "none"
