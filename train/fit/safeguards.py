"""What a training does when its machine is taken away or its loss is no number."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import tf_keras

from train.fit.checkpoints import TrainingCheckpoints
from train.fit.interruptions import Interruptions, Preempted


class Safeguards(tf_keras.callbacks.Callback):
    """Saves checkpoints at an interval, at a signal and at the end; stops at a NaN loss.

    Use it as a context around `fit`: inside, signals wait for the end of a step.

    Args:
      checkpoints: where states go.
      interval: seconds between two checkpoints; 0 saves after every step.
      interruptions: knows whether a signal has come.

    Raises:
      Preempted: after a signal, from within `fit` or `stop_if_asked`, or at the block's end.
      FloatingPointError: the loss is not finite; the last checkpoint is of before.
    """

    def __init__(
        self, checkpoints: TrainingCheckpoints, interval: float, interruptions: Interruptions
    ) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._interval = interval
        self._interruptions = interruptions
        self._saved_at = time.monotonic()
        self._block = contextlib.ExitStack()

    def __enter__(self) -> Safeguards:
        # Within a step the variables are in use.
        self._block.enter_context(self._interruptions.deferred())
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        self._block.close()
        if kind is None:
            self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Saves and raises `Preempted` if a signal has come; between steps of any kind."""
        if self._interruptions.asked:
            self._checkpoints.save()
            saves = self._checkpoints.writes
            where = ", which is saved" if saves else "; the first worker writes the checkpoints"
            raise Preempted(self._interruptions.asked, f"at step {self._checkpoints.step}{where}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the loss, the signal and the clock, in this order."""
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError(
                f"the loss became {logs['loss']} before step {self._checkpoints.step} was "
                "over. Try a lower --learning_rate. Checkpoints of earlier steps are kept, "
                "and --output_dir must name another folder for a run with other settings"
            )
        self.stop_if_asked()
        if time.monotonic() - self._saved_at >= self._interval:
            self._save()

    def on_train_end(self, logs: Any = None) -> None:
        """Saves the last step."""
        self._save()

    def _save(self) -> None:
        self._checkpoints.save()
        self._saved_at = time.monotonic()
