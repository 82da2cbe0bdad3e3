"""What a training does when its machine is taken away or its loss is no number."""

from __future__ import annotations

import math
import signal
import time
from typing import Any

import tf_keras

from train.fit.checkpoints import TrainingCheckpoints


class Preempted(Exception):  # noqa: N818  It is no error.
    """SIGTERM came, and the state was saved."""


class Safeguards(tf_keras.callbacks.Callback):
    """Saves checkpoints at an interval, at SIGTERM and at the end; stops at a NaN loss.

    Args:
      checkpoints: where states go.
      interval: seconds between two checkpoints; 0 saves after every step.

    Raises:
      Preempted: after SIGTERM, from within `fit` or `stop_if_asked`.
      FloatingPointError: the loss is not finite; the last checkpoint is of before.
    """

    def __init__(self, checkpoints: TrainingCheckpoints, interval: float) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._interval = interval
        self._saved_at = time.monotonic()
        self._asked = False

    def __enter__(self) -> Safeguards:
        self._former = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._former)

    def _ask(self, number: int, frame: Any) -> None:
        # Within a step the variables are in use; the step's end looks at this.
        self._asked = True

    def stop_if_asked(self) -> None:
        """Saves and raises `Preempted` if SIGTERM has come; between steps of any kind."""
        if self._asked:
            self._checkpoints.save()
            saves = self._checkpoints.writes
            where = ", which is saved" if saves else "; the first worker writes the checkpoints"
            raise Preempted(f"SIGTERM at step {self._checkpoints.step}{where}")

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
