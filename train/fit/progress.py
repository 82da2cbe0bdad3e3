"""A progress bar over training that counts examples and times them."""

from __future__ import annotations

import time
from typing import Any

import tf_keras
import tqdm


class ThroughputBar(tf_keras.callbacks.Callback):
    """Shows examples per second, loss and dev metrics of each epoch.

    Args:
      batch_size: examples per step.
      epochs: of the whole training.

    Attributes:
      examples_per_second: training speed over all epochs, without evaluation and without
        the steps that the first trace and the following warm-up take; `None` before.
    """

    _WARM_UP_STEPS = 3

    def __init__(self, batch_size: int, epochs: int) -> None:
        super().__init__()
        self._batch_size = batch_size
        self._epochs = epochs
        self._bar: tqdm.tqdm | None = None
        self._steps = 0
        self._timed_examples = 0
        self._timed_seconds = 0.0

    def close(self) -> None:
        """Ends the bar's line, so that what is printed next has a line of its own."""
        if self._bar is not None:
            self._bar.close()

    @property
    def examples_per_second(self) -> float | None:
        """Training speed so far."""
        if not self._timed_seconds:
            return None
        return self._timed_examples / self._timed_seconds

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's bar."""
        self._bar = tqdm.tqdm(
            total=self.params["steps"] * self._batch_size,
            desc=f"epoch {epoch + 1}/{self._epochs}",
            unit=" examples",
            mininterval=1.0,
        )
        self._last = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the examples of a step, or of the steps that ran as one."""
        count = (batch + 1) * self._batch_size - self._bar.n
        now = time.perf_counter()
        self._steps += 1
        if self._steps > self._WARM_UP_STEPS:
            self._timed_examples += count
            self._timed_seconds += now - self._last
        self._last = now
        self._bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
        self._bar.update(count)
        # Dev is evaluated before the epoch ends; the bar's clock must not count that.
        if batch + 1 == self.params["steps"]:
            self._bar.close()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Prints the dev metrics."""
        shown = {name.removeprefix("val_"): v for name, v in logs.items() if "val_" in name}
        tqdm.tqdm.write("  dev: " + ", ".join(f"{name} {v:.4f}" for name, v in shown.items()))
