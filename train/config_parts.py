"""The parts of a run's settings, each checked when it is made.

Nothing here reads a disk or a network.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from keras_adapters.adapter_file import DTYPES as ADAPTER_DTYPES
from train.encoders.find import DEFAULT
from train.fit.workers import WORKER_MINUTES

POOLINGS = ("auto", "pooler", "mean")
PRECISIONS = ("float32", "bfloat16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
_LARGEST_SEED = 2**32 - 1  # NumPy's.


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What the model is made of.

    Args:
      encoder: a preset's name, a pretrained checkpoint's path or a Hugging Face id.
      pooling: what the head reads: `pooler`, BERT's pooled output as in the paper; `mean`,
        the mean over tokens; or `auto`, which of the two the encoder was pretrained for.
        `None` is `auto` too, and what it comes to where the head reads every position.
      head_dropout: probability of dropping a feature that the head reads, in training; by
        default 0.1, of spans none. The encoder's own dropout is its configuration's.
      max_seq_length: tokens per example, special tokens included; by default 128, of spans
        384, or the encoder's longest.
      init_adapter: folder of an adapter of the same encoder to start from, in place of new
        adapters: its adapters and LayerNorms, and its head where that is for the same labels.
        Where nothing of adapters is given, their settings are that adapter's.

    Raises:
      ValueError: a setting is out of its range.
    """

    encoder: str = DEFAULT
    pooling: str | None = "auto"
    head_dropout: float | None = None
    max_seq_length: int | None = None
    init_adapter: str | None = None

    def __post_init__(self) -> None:
        check_text("encoder", self.encoder)
        if self.init_adapter is not None:
            check_text("init_adapter", self.init_adapter)
        check_choice("pooling", self.pooling, (*POOLINGS, None))
        if self.head_dropout is not None and not (
            _is_number(self.head_dropout) and 0 <= self.head_dropout < 1
        ):
            raise ValueError(f"--head_dropout must be in [0, 1). Received: {self.head_dropout!r}")
        check_count("max_seq_length", self.max_seq_length)


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How it is trained.

    Args:
      batch_size: examples per step, over all replicas together.
      learning_rate: the peak; by default that of the task's recipe if that is for the
        method, else the method's in `METHODS`.
      epochs: passes over the training split; by default as `learning_rate`, else 3.
      seed: of the data's order, the initial values and dropout.
      precision: `float32`, or `bfloat16` for computation with float32 variables.
      max_train_examples: train on no more than this many, drawn by `seed`.
      gradient_accumulation_steps: compute each batch in this many parts, with as much less
        memory. By default 1; on a CPU 4 where texts are not packed, as less is computed on
        padding.
      rematerialize: compute each block again for its gradient instead of keeping what it
        computed: less memory, more time.
      pack: whether several short texts share a row of a batch, in training and evaluation, so
        that less is computed on padding; by default where they can, but for `feature_based`.

    Raises:
      ValueError: a setting is out of its range, or two contradict each other.
    """

    batch_size: int = 32
    learning_rate: float | None = None
    epochs: int | None = None
    seed: int = 0
    precision: str = "float32"
    max_train_examples: int | None = None
    gradient_accumulation_steps: int | None = None
    rematerialize: bool = False
    pack: bool | None = None

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size, optional=False)
        for name in ("epochs", "max_train_examples", "gradient_accumulation_steps"):
            check_count(name, getattr(self, name))
        if self.batch_size % (self.gradient_accumulation_steps or 1):
            raise ValueError(
                "--batch_size must be a multiple of --gradient_accumulation_steps. "
                f"Received: {self.batch_size} and {self.gradient_accumulation_steps}"
            )
        if not _is_whole(self.seed) or not 0 <= self.seed <= _LARGEST_SEED:
            raise ValueError(f"--seed must be 0 to {_LARGEST_SEED}. Received: {self.seed!r}")
        rate = self.learning_rate
        if rate is not None and not (_is_number(rate) and math.isfinite(rate) and rate > 0):
            raise ValueError(f"--learning_rate must be above 0. Received: {rate!r}")
        check_choice("precision", self.precision, PRECISIONS)
        check_bool("rematerialize", self.rematerialize)
        if self.pack is not None:
            check_bool("pack", self.pack)


@dataclasses.dataclass(frozen=True)
class DeviceConfig:
    """Where it is trained.

    Args:
      strategy: one of `STRATEGIES`.
      tpu: a TPU's name or address; `local` on a TPU VM.
      steps_per_execution: steps that run without returning to Python; by default 1, on
        TPUs more.
      worker_minutes: minutes that one of several workers waits for the others at the start.

    Raises:
      ValueError: a setting is out of its range, or two contradict each other.
    """

    strategy: str = "auto"
    tpu: str | None = None
    steps_per_execution: int | None = None
    worker_minutes: float = WORKER_MINUTES

    def __post_init__(self) -> None:
        check_choice("strategy", self.strategy, STRATEGIES)
        check_count("steps_per_execution", self.steps_per_execution)
        if not (_is_number(self.worker_minutes) and 0 < self.worker_minutes < math.inf):
            raise ValueError(f"--worker_minutes must be above 0. Received: {self.worker_minutes!r}")
        if self.strategy == "tpu" and not self.tpu:
            raise ValueError("--strategy=tpu needs --tpu: the TPU's name, or `local` on its VM")
        if self.tpu and self.strategy not in ("auto", "tpu"):
            raise ValueError(f"--tpu goes with --strategy=tpu or auto, not {self.strategy}")


@dataclasses.dataclass(frozen=True)
class KeepConfig:
    """What is kept of it.

    Args:
      output_dir: where results go; by default a folder under `runs` named by the run.
      checkpoint_minutes: minutes between two checkpoints; 0 is after every step.
      keep_checkpoints: how many of them are kept.
      predict_test: write the predictions of test splits published without labels.
      export: whether to write a SavedModel.
      adapter_dtype: what the adapter file stores, one of `ADAPTER_DTYPES`: with 16 bits half
        of the bytes. The SavedModel and the metrics are not rounded.
      feature_cache: where nothing but a head on one vector per text trains, the folder that
        keeps these vectors from run to run; empty keeps none, and the encoder is run each
        epoch. By default `keras_adapters/features` in the user's folder of caches.

    Raises:
      ValueError: a setting is out of its range.
    """

    output_dir: str | None = None
    checkpoint_minutes: float = 5.0
    keep_checkpoints: int = 2
    predict_test: bool = False
    export: bool = True
    adapter_dtype: str = "float32"
    feature_cache: str | None = None

    def __post_init__(self) -> None:
        if self.output_dir is not None:
            check_text("output_dir", self.output_dir)
        check_count("keep_checkpoints", self.keep_checkpoints, optional=False)
        if not (_is_number(self.checkpoint_minutes) and self.checkpoint_minutes >= 0):
            raise ValueError(
                f"--checkpoint_minutes must be at least 0. Received: {self.checkpoint_minutes!r}"
            )
        check_bool("predict_test", self.predict_test)
        check_bool("export", self.export)
        check_choice("adapter_dtype", self.adapter_dtype, ADAPTER_DTYPES)
        if self.feature_cache:
            check_text("feature_cache", self.feature_cache)


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """How long models without BERT are searched for: until the first of these is spent.

    Args:
      trials: how many models are tried; `None` is any number.
      seconds: how long trials take in all; `None` is any time. The number of trials then
        depends on the machine, and the result with it.

    Raises:
      ValueError: a setting is out of its range, or both are left open.
    """

    trials: int | None = 50
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_count("search_trials", self.trials)
        seconds = self.seconds
        if seconds is not None and not (_is_number(seconds) and 0 < seconds < math.inf):
            raise ValueError(f"--search_seconds must be above 0. Received: {seconds!r}")
        if self.trials is None and seconds is None:
            raise ValueError("a search needs --search_trials or --search_seconds")

    def __str__(self) -> str:
        trials = None if self.trials is None else f"{self.trials} trials"
        seconds = None if self.seconds is None else f"{self.seconds:g} s"
        return "a search of " + ", at most ".join(filter(None, (trials, seconds)))


def check_choice(name: str, value: Any, allowed: tuple[str | None, ...]) -> None:
    """Raises a ValueError unless the flag's value is one of those allowed."""
    if value not in allowed:
        names = ", ".join(filter(None, allowed))
        raise ValueError(f"--{name} must be one of {names}. Received: {value!r}")


def check_count(name: str, value: Any, optional: bool = True) -> None:
    """Raises a ValueError unless the flag's value is a whole number of at least 1."""
    if (value is not None or not optional) and not (_is_whole(value) and value >= 1):
        raise ValueError(f"--{name} must be a whole number of at least 1. Received: {value!r}")


def check_text(name: str, value: Any) -> None:
    """Raises a ValueError unless the flag's value is a text, not empty, that UTF-8 can write."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"--{name} must not be empty. Received: {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # Bytes of a command line that are not.
        raise ValueError(f"--{name} must be UTF-8. Received: {value!r}") from error


def check_bool(name: str, value: Any) -> None:
    """Raises a ValueError unless the flag's value is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"--{name} must be true or false. Received: {value!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
