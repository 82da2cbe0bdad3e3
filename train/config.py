"""What one run is: every setting, checked when made, before anything is read."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

from keras_adapters.methods.bottleneck import AdapterConfig
from train.encoders.find import DEFAULT, find_encoder
from train.tasks.table import TASKS

# Where a task has no recipe. Of the paper's grids: few parameters take a high rate, a
# pretrained network a low one.
LEARNING_RATES = {
    "adapters": 3e-3,
    "full": 5e-5,
    "top_layers": 5e-5,
    "feature_based": 1e-3,
    "layer_norm": 1e-3,
}
_EPOCHS = 3
_SEQ_LENGTH, _SEQ_LENGTHS = 128, {"span": 384}
POOLINGS = ("auto", "pooler", "mean")
PRECISIONS = ("float32", "bfloat16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
_LARGEST_SEED = 2**32 - 1  # NumPy's.


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings of one run; each is the flag of the same name in `train.run`.

    Args:
      task: a key of `train.tasks.TASKS`.
      method: a key of `LEARNING_RATES`.
      adapter: the adapters; with the method `adapters` and no other. By default of the
        size of the task's recipe (`train.tasks.recipes`), else 64.
      top_layers: number of blocks that the method `top_layers` trains.
      encoder: a preset's name, or a folder with a pretrained checkpoint.
      pooling: what the head reads: `pooler`, BERT's pooled output as in the paper; `mean`,
        the mean over tokens; or `auto`, which of the two the encoder was pretrained for.
      head_dropout: probability of dropping a feature that the head reads, in training; by
        default 0.1, of spans none. The encoder's own dropout is its configuration's.
      data_dir: where the task's files are. Packaged tasks need none; the files of `csv`
        are relative to it.
      train_file, dev_file, test_file, text_columns, label_column: the task `csv`.
      output_dir: where results go; by default a folder under `runs` named by the run.
      max_seq_length: tokens per example, special tokens included; by default 128, of spans
        384 or the encoder's longest.
      batch_size: examples per step, over all replicas together.
      learning_rate: the peak; by default that of the task's recipe if its method is
        `adapters`, else the method's in `LEARNING_RATES`.
      epochs: passes over the training split; by default as `learning_rate`, else 3.
      seed: of the data's order, the initial values and dropout.
      precision: `float32`, or `bfloat16` for computation with float32 variables.
      strategy, tpu: where to train.
      max_train_examples: train on no more than this many, drawn by `seed`.
      gradient_accumulation_steps: compute each batch in this many parts of like length,
        with as much less memory. By default 1; on a CPU 4, as less is computed on padding.
      rematerialize: compute each block again for its gradient instead of keeping what it
        computed: less memory, more time.
      steps_per_execution: steps that run without returning to Python; by default 1, on
        TPUs more.
      checkpoint_minutes: minutes between two checkpoints; 0 is after every step.
      keep_checkpoints: how many of them are kept.
      predict_test: write the predictions of test splits published without labels.
      export: whether to write a SavedModel.

    Raises:
      ValueError: a setting is out of its range, or two contradict each other. The text
        names the flag.
      FileNotFoundError: a file or the encoder is not there.
    """

    task: str
    method: str = "adapters"
    adapter: AdapterConfig | None = None
    top_layers: int | None = None
    encoder: str = DEFAULT
    pooling: str = "auto"
    head_dropout: float | None = None
    data_dir: str | None = None
    train_file: str | None = None
    dev_file: str | None = None
    test_file: str | None = None
    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"
    output_dir: str | None = None
    max_seq_length: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    epochs: int | None = None
    seed: int = 0
    precision: str = "float32"
    strategy: str = "auto"
    tpu: str | None = None
    max_train_examples: int | None = None
    gradient_accumulation_steps: int | None = None
    rematerialize: bool = False
    steps_per_execution: int | None = None
    checkpoint_minutes: float = 5.0
    keep_checkpoints: int = 2
    predict_test: bool = False
    export: bool = True

    def __post_init__(self) -> None:
        self._check_choices()
        self._fill_in()
        self._check_method()
        self._check_numbers()
        self._check_files()
        self._check_columns()
        self._check_places()
        if self.output_dir is None:
            object.__setattr__(self, "output_dir", str(pathlib.Path("runs", self._name())))

    def file_of(self, split: str) -> pathlib.Path | None:
        """Returns the path of the file named for `train`, `dev` or `test`, if there is one."""
        name = getattr(self, f"{split}_file")
        return pathlib.Path(self.data_dir or "", name) if name else None

    def to_json_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def _name(self) -> str:
        detail = {"adapters": self.adapter and self.adapter.size, "top_layers": self.top_layers}
        return f"{self.task}-{self.method}{detail.get(self.method, '')}-seed{self.seed}"

    def _check_choices(self) -> None:
        choices = {
            "task": tuple(TASKS),
            "method": tuple(LEARNING_RATES),
            "pooling": POOLINGS,
            "precision": PRECISIONS,
            "strategy": STRATEGIES,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"--{name} must be one of {', '.join(allowed)}. "
                    f"Received: {getattr(self, name)!r}"
                )

    def _fill_in(self) -> None:
        """Settles what was left open: the task's recipe is one of adapter-based tuning."""
        adapters = self.method == "adapters"
        recipe = TASKS[self.task].recipe if adapters else None
        if recipe and recipe.encoder not in (None, self.encoder):
            recipe = None
        if adapters and self.adapter is None:
            adapter = AdapterConfig(size=recipe.adapter_size) if recipe else AdapterConfig()
            object.__setattr__(self, "adapter", adapter)
        if self.learning_rate is None:
            rate = recipe.learning_rate if recipe else LEARNING_RATES[self.method]
            object.__setattr__(self, "learning_rate", rate)
        if self.max_seq_length is None:
            longest = find_encoder(self.encoder).config["max_position_embeddings"]
            wanted = _SEQ_LENGTHS.get(TASKS[self.task].kind, _SEQ_LENGTH)
            object.__setattr__(self, "max_seq_length", min(wanted, longest))
        if self.epochs is None:
            object.__setattr__(self, "epochs", recipe.epochs if recipe else _EPOCHS)

    def _check_method(self) -> None:
        if self.method != "adapters" and self.adapter is not None:
            raise ValueError(f"--adapter_size goes with --method=adapters, not {self.method}")
        if (self.method == "top_layers") != (self.top_layers is not None):
            raise ValueError(
                "--top_layers and --method=top_layers go together. "
                f"Received: --method={self.method}, --top_layers={self.top_layers}"
            )
        blocks = find_encoder(self.encoder).config["num_hidden_layers"]
        if self.top_layers is not None and not 1 <= self.top_layers <= blocks:
            raise ValueError(
                f"--top_layers must be 1 to {blocks}, the encoder's number of blocks. "
                f"Received: {self.top_layers}"
            )

    def _check_numbers(self) -> None:
        for name in (
            "batch_size",
            "epochs",
            "max_train_examples",
            "gradient_accumulation_steps",
            "steps_per_execution",
            "keep_checkpoints",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1. Received: {value}")
        if self.batch_size % (self.gradient_accumulation_steps or 1):
            raise ValueError(
                "--batch_size must be a multiple of --gradient_accumulation_steps. "
                f"Received: {self.batch_size} and {self.gradient_accumulation_steps}"
            )
        if self.head_dropout is not None and not 0 <= self.head_dropout < 1:
            raise ValueError(f"--head_dropout must be in [0, 1). Received: {self.head_dropout}")
        if not self.checkpoint_minutes >= 0:
            raise ValueError(
                f"--checkpoint_minutes must be at least 0. Received: {self.checkpoint_minutes}"
            )
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise ValueError(f"--seed must be 0 to {_LARGEST_SEED}. Received: {self.seed}")
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"--learning_rate must be above 0. Received: {rate}")
        longest = find_encoder(self.encoder).config["max_position_embeddings"]
        texts = TASKS[self.task].text_columns or len(self.text_columns)
        shortest = 1 + 2 * texts  # [CLS], and a token and [SEP] per text.
        if not shortest <= self.max_seq_length <= longest:
            raise ValueError(
                f"--max_seq_length must be {shortest} to {longest}, the encoder's longest "
                f"sequence. Received: {self.max_seq_length}"
            )

    def _check_files(self) -> None:
        if TASKS[self.task].needs_files != bool(self.train_file):
            raise ValueError(
                "--task=csv needs --train_file, and only it takes one. "
                f"Received: --task={self.task}, --train_file={self.train_file}"
            )
        if not self.train_file:
            for name in ("dev_file", "test_file", "text_columns", "label_column"):
                if getattr(self, name) != getattr(RunConfig, name):
                    raise ValueError(f"--{name} goes with --task=csv, not {self.task}")
        if self.data_dir and not pathlib.Path(self.data_dir).is_dir():
            raise FileNotFoundError(f"--data_dir={self.data_dir} is not a folder")
        flag_of: dict[pathlib.Path, str] = {}
        for split in ("train", "dev", "test"):
            path, name = self.file_of(split), f"{split}_file"
            if not path:
                continue
            if not path.is_file():
                raise FileNotFoundError(f"--{name}={path}: there is no such file")
            first = flag_of.setdefault(path.resolve(), name)
            if first != name:
                raise ValueError(
                    f"--{first} and --{name} name the same file, {path}. Name another, or leave "
                    f"out --{name}"
                )

    def _check_columns(self) -> None:
        if not 1 <= len(self.text_columns) <= 2:
            raise ValueError(
                "--text_columns must name one column, or the two of a pair. "
                f"Received: {','.join(self.text_columns)!r}"
            )
        columns = (*self.text_columns, self.label_column)
        if len(set(columns)) < len(columns) or not all(columns):
            raise ValueError(
                "--text_columns and --label_column must name different columns. "
                f"Received: {','.join(self.text_columns)!r} and {self.label_column!r}"
            )

    def _check_places(self) -> None:
        if self.strategy == "tpu" and not self.tpu:
            raise ValueError("--strategy=tpu needs --tpu: the TPU's name, or `local` on its VM")
        if self.tpu and self.strategy not in ("auto", "tpu"):
            raise ValueError(f"--tpu goes with --strategy=tpu or auto, not {self.strategy}")
        if self.output_dir == "" or (self.output_dir and pathlib.Path(self.output_dir).is_file()):
            raise ValueError(f"--output_dir must name a folder. Received: {self.output_dir!r}")
