"""Features of a frozen encoder, computed once and kept on disk.

Feature-based transfer puts a new function on a fixed network and trains it alone: chi_v of
phi_w(x), where w never changes (Houlsby et al. 2019, section 1). So phi_w(x), the one vector per
text that the head reads, need not be computed anew each epoch, nor for each learning rate and
seed. The encoder is run as for inference, without dropout: with it, there would be no one
vector. The head's own dropout is drawn in training as ever.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
import tqdm

from train.baselines.feature_files import DamagedArrayError, open_array, write_array
from train.fit.input_pipeline import Source
from train.fit.predictor import Predictor
from train.objectives.model import FEATURES

# Examples in a file: what a killed process loses at most, and what is held in memory.
_SHARD = 8192
# Of the keys. It changes with anything that changes features and is not in `identity`, such as
# how texts are tokenised; older files are then never read again.
_VERSION = 1


class FeatureCache:
    """Turns sources of texts into sources of their features, which are kept in a folder.

    A file holds the features of up to 8192 successive examples, `<float32>[examples, width]`,
    and is named by a SHA-256 of all that they follow from: `identity` and the texts. So any
    run may read what any other has written, there is nothing to be brought up to date, and the
    folder may be removed at any time. Files appear whole or not at all, are compared with their
    checksums before they are used, and are computed again where they are damaged. Two processes
    that compute the same features at once write the same file, one after the other.

    Args:
      folder: of the files; it is made if it is not there.
      model: from an encoder's inputs to features `<float>[batch, width]`.
      identity: what features follow from beside the texts, in JSON's types.
      strategy: what the model was built under.
      batch_size: examples per step.

    Raises:
      OSError: the folder cannot be made or written.

    Attributes:
      computed, read: numbers of examples whose features were computed, or found, so far.
      seconds: that this took.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        model: tf_keras.Model,
        identity: Mapping[str, Any],
        strategy: tf.distribute.Strategy,
        batch_size: int = 64,
    ) -> None:
        self._folder = pathlib.Path(folder)
        self._width = model.output_shape[-1]
        self._identity = {"version": _VERSION, **identity}
        self._sources: dict[Source, Source] = {}
        self._batch_size = batch_size
        self._predict = Predictor(model, strategy, batch_size)
        self.computed = self.read = 0
        self.seconds = 0.0
        self._check_folder()

    def source(self, source: Source, name: str = "") -> Source:
        """Returns the source of a split's features, which are computed where they are not kept.

        Args:
          source: of texts, which it must tell, with its labels.
          name: the split's, for the progress bar.

        Returns:
          A source with the same lengths and labels, and the one input `features`,
          `<float32>[batch, width]`. It reads what is mapped into memory: a tf.data graph with
          it runs in this process alone.

        Raises:
          OSError: a file cannot be read or written.
        """
        if source not in self._sources:
            start = time.monotonic()
            self._sources[source] = self._make(source, name)
            self.seconds += time.monotonic() - start
        return self._sources[source]

    def _make(self, source: Source, name: str) -> Source:
        starts = range(0, len(source), _SHARD)
        paths = [self._path(source, start) for start in starts]
        shards = [self._open(path) for path in paths]
        lacking = [index for index, shard in enumerate(shards) if shard is None]
        counts = [min(_SHARD, len(source) - start) for start in starts]
        missing = sum(counts[index] for index in lacking)
        self.computed += missing
        self.read += len(source) - missing
        if lacking:
            with tqdm.tqdm(total=missing, desc=f"features {name}".strip(), unit=" examples") as bar:
                for index in lacking:
                    end = bar.n + counts[index]
                    part = _part(source, starts[index], counts[index])
                    features = self._predict(
                        part, lambda end=end: bar.update(min(self._batch_size, end - bar.n))
                    )
                    self._write(paths[index], np.asarray(features, np.float32))
                    shards[index] = self._open(paths[index])
        return _of_features(source, shards, self._width)

    def _path(self, source: Source, start: int) -> pathlib.Path:
        texts = [list(column[start : start + _SHARD]) for column in source.texts]
        said = json.dumps({**self._identity, "texts": texts}, sort_keys=True)
        return self._folder / f"{hashlib.sha256(said.encode()).hexdigest()}.npy"

    def _open(self, path: pathlib.Path) -> np.ndarray | None:
        try:
            return open_array(path)
        except FileNotFoundError:
            return None
        except DamagedArrayError as error:
            print(f"{error}. It is computed again")
            return None
        except OSError as error:
            raise OSError(f"--feature_cache={self._folder} cannot be read: {error}") from error

    def _write(self, path: pathlib.Path, features: np.ndarray) -> None:
        try:
            write_array(path, features)
        except OSError as error:
            raise self._unwritable(error) from error

    def _check_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OSError:
        return OSError(
            f"--feature_cache={self._folder} cannot be written: {error}. Make room, name another "
            "folder, or do without with --feature_cache="
        )


def _part(source: Source, start: int, count: int) -> Source:
    def gather(indices: tf.Tensor) -> tuple[dict[str, tf.Tensor], Any]:
        return source.gather(indices + start)

    return Source(source.lengths[start : start + count], gather)


def _of_features(source: Source, shards: Sequence[np.ndarray], width: int) -> Source:
    def rows(indices: np.ndarray) -> np.ndarray:
        features = np.empty([len(indices), width], np.float32)
        shard_of, row_of = np.divmod(indices, _SHARD)
        for index in np.unique(shard_of):
            chosen = shard_of == index
            features[chosen] = shards[index][row_of[chosen]]
        return features

    def gather(indices: tf.Tensor) -> tuple[dict[str, tf.Tensor], Any]:
        # Not by `source.gather`, which would tokenise the texts too.
        labels = tf.gather(source.labels, indices)
        features = tf.numpy_function(rows, [indices], tf.float32, stateful=False)
        features.set_shape([*indices.shape, width])
        return {FEATURES: features}, labels

    return Source(source.lengths, gather, source.texts, source.labels)
