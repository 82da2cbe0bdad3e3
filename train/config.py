"""What one run is: every setting, checked when made, before anything is read."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import Any

from keras_adapters.config import AdapterConfig
from train import encoders
from train.tasks import TASKS

# One good value per method on the packaged tasks; the README's table was made with them.
LEARNING_RATES = {
    "adapters": 1e-3,
    "full": 5e-5,
    "top_layers": 5e-5,
    "feature_based": 1e-3,
    "layer_norm": 1e-3,
}
PRECISIONS = ("float32", "bfloat16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings of one run; each is the flag of the same name in `train.run`.

    Args:
      task: a key of `train.tasks.TASKS`.
      method: a key of `LEARNING_RATES`.
      adapter: the adapters; with the method `adapters` and no other.
      top_layers: number of blocks that the method `top_layers` trains.
      encoder: a preset's name, or a folder with a pretrained checkpoint.
      train_file, dev_file, test_file, text_columns, label_column: the task `csv`.
      output_dir: where results go; by default a folder under `runs` named by the run.
      max_seq_length: tokens per example, special tokens included.
      batch_size: examples per step, over all replicas together.
      learning_rate: the peak; by default the method's in `LEARNING_RATES`.
      epochs: passes over the training split.
      seed: of the data's order, the initial values and dropout.
      precision: `float32`, or `bfloat16` for computation with float32 variables.
      strategy, tpu: where to train.
      max_train_examples: train on no more than this many, drawn by `seed`.
      export: whether to write a SavedModel.

    Raises:
      ValueError: a setting is out of its range, or two contradict each other. The text
        names the flag.
      FileNotFoundError: the encoder is neither a preset nor a folder.
    """

    task: str
    method: str = "adapters"
    adapter: AdapterConfig | None = None
    top_layers: int | None = None
    encoder: str = encoders.DEFAULT
    train_file: str | None = None
    dev_file: str | None = None
    test_file: str | None = None
    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"
    output_dir: str | None = None
    max_seq_length: int = 128
    batch_size: int = 32
    learning_rate: float | None = None
    epochs: int = 3
    seed: int = 0
    precision: str = "float32"
    strategy: str = "auto"
    tpu: str | None = None
    max_train_examples: int | None = None
    export: bool = True

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_method()
        self._check_numbers()
        self._check_files()
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", LEARNING_RATES[self.method])
        if self.output_dir is None:
            object.__setattr__(self, "output_dir", str(pathlib.Path("runs", self._name())))

    def to_json_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON types."""
        settings = dataclasses.asdict(self)
        settings["text_columns"] = list(self.text_columns)
        if self.adapter:
            for name in ("places", "layers"):
                value = settings["adapter"][name]
                settings["adapter"][name] = None if value is None else list(value)
        return settings

    def _name(self) -> str:
        detail = {"adapters": self.adapter and self.adapter.size, "top_layers": self.top_layers}
        return f"{self.task}-{self.method}{detail.get(self.method, '')}-seed{self.seed}"

    def _check_choices(self) -> None:
        choices = {
            "task": tuple(TASKS),
            "method": tuple(LEARNING_RATES),
            "precision": PRECISIONS,
            "strategy": STRATEGIES,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"--{name} must be one of {', '.join(allowed)}. "
                    f"Received: {getattr(self, name)!r}"
                )

    def _check_method(self) -> None:
        if self.method == "adapters" and self.adapter is None:
            object.__setattr__(self, "adapter", AdapterConfig())
        if self.method != "adapters" and self.adapter is not None:
            raise ValueError(f"--adapter_size goes with --method=adapters, not {self.method}")
        if (self.method == "top_layers") != (self.top_layers is not None):
            raise ValueError(
                "--top_layers and --method=top_layers go together. "
                f"Received: --method={self.method}, --top_layers={self.top_layers}"
            )
        blocks = encoders.find(self.encoder).config["num_hidden_layers"]
        if self.top_layers is not None and not 1 <= self.top_layers <= blocks:
            raise ValueError(
                f"--top_layers must be 1 to {blocks}, the encoder's number of blocks. "
                f"Received: {self.top_layers}"
            )

    def _check_numbers(self) -> None:
        for name in ("batch_size", "epochs", "max_train_examples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1. Received: {value}")
        if self.seed < 0:
            raise ValueError(f"--seed must be 0 or above. Received: {self.seed}")
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"--learning_rate must be above 0. Received: {rate}")
        longest = encoders.find(self.encoder).config["max_position_embeddings"]
        if not 3 <= self.max_seq_length <= longest:
            raise ValueError(
                f"--max_seq_length must be 3 to {longest}, the encoder's longest sequence. "
                f"Received: {self.max_seq_length}"
            )

    def _check_files(self) -> None:
        if TASKS[self.task].needs_files != bool(self.train_file):
            raise ValueError(
                "--task=csv needs --train_file, and only it takes one. "
                f"Received: --task={self.task}, --train_file={self.train_file}"
            )
        if not self.train_file and (self.dev_file or self.test_file):
            raise ValueError("--dev_file and --test_file go with --task=csv")
        if not 1 <= len(self.text_columns) <= 2:
            raise ValueError(
                "--text_columns must name one column, or the two of a pair. "
                f"Received: {','.join(self.text_columns)!r}"
            )
        for path in (self.output_dir,):
            if path and pathlib.Path(path).exists() and not pathlib.Path(path).is_dir():
                raise ValueError(f"--output_dir={path} is a file; name a folder")
