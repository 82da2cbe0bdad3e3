"""What one run is: every setting, in parts that are checked when they are made.

Nothing here reads a disk or a network; `train.settle` fills in what depends on the encoder.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from keras_adapters.adapter_file import DTYPES as ADAPTER_DTYPES
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS, Method
from train.adapter_flags import ADAPTER_FLAGS, adapter_config
from train.encoders.find import DEFAULT
from train.fit.workers import WORKER_MINUTES
from train.tasks.files import DataFiles
from train.tasks.table import TASKS
from train.tasks.task import check_files

POOLINGS = ("auto", "pooler", "mean")
PRECISIONS = ("float32", "bfloat16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
NO_BERT = "no_bert"  # No transfer: a search over models of the task alone.
METHOD_NAMES = (*METHODS, NO_BERT)
# The settings that such a search takes, of those that say how a model is made.
_OF_SEARCHES = ("seed", "max_train_examples", "output_dir", "export")
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
        _check_text("encoder", self.encoder)
        if self.init_adapter is not None:
            _check_text("init_adapter", self.init_adapter)
        _check_choice("pooling", self.pooling, (*POOLINGS, None))
        if self.head_dropout is not None and not (
            _is_number(self.head_dropout) and 0 <= self.head_dropout < 1
        ):
            raise ValueError(f"--head_dropout must be in [0, 1). Received: {self.head_dropout!r}")
        _check_count("max_seq_length", self.max_seq_length)


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
      gradient_accumulation_steps: compute each batch in this many parts of like length,
        with as much less memory. By default 1; on a CPU 4, as less is computed on padding.
      rematerialize: compute each block again for its gradient instead of keeping what it
        computed: less memory, more time.

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

    def __post_init__(self) -> None:
        _check_count("batch_size", self.batch_size, optional=False)
        for name in ("epochs", "max_train_examples", "gradient_accumulation_steps"):
            _check_count(name, getattr(self, name))
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
        _check_choice("precision", self.precision, PRECISIONS)
        _check_bool("rematerialize", self.rematerialize)


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
        _check_choice("strategy", self.strategy, STRATEGIES)
        _check_count("steps_per_execution", self.steps_per_execution)
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
            _check_text("output_dir", self.output_dir)
        _check_count("keep_checkpoints", self.keep_checkpoints, optional=False)
        if not (_is_number(self.checkpoint_minutes) and self.checkpoint_minutes >= 0):
            raise ValueError(
                f"--checkpoint_minutes must be at least 0. Received: {self.checkpoint_minutes!r}"
            )
        _check_bool("predict_test", self.predict_test)
        _check_bool("export", self.export)
        _check_choice("adapter_dtype", self.adapter_dtype, ADAPTER_DTYPES)
        if self.feature_cache:
            _check_text("feature_cache", self.feature_cache)


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
        _check_count("search_trials", self.trials)
        seconds = self.seconds
        if seconds is not None and not (_is_number(seconds) and 0 < seconds < math.inf):
            raise ValueError(f"--search_seconds must be above 0. Received: {seconds!r}")
        if self.trials is None and seconds is None:
            raise ValueError("a search needs --search_trials or --search_seconds")

    def __str__(self) -> str:
        trials = None if self.trials is None else f"{self.trials} trials"
        seconds = None if self.seconds is None else f"{self.seconds:g} s"
        return "a search of " + ", at most ".join(filter(None, (trials, seconds)))


_PARTS = {
    "files": DataFiles,
    "model": ModelConfig,
    "fit": FitConfig,
    "device": DeviceConfig,
    "keep": KeepConfig,
}


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings of one run; each is the flag of the same name in `train.run`.

    Args:
      task: a key of `train.tasks.table.TASKS`.
      method: what is inserted and what trains. `None`: adapters, of the size of the task's
        recipe, else 64.
      files: the task's files.
      model: what the model is made of.
      fit: how it is trained.
      device: where it is trained.
      keep: what is kept of it.
      search: in place of a method, how long models without BERT are searched for.

    Raises:
      ValueError: there is no such task, or it takes other files; or settings of two parts
        contradict each other, or one does not go with a search.

    Example:
    >>> RunConfig.from_settings("mnli", adapter_size=64, data_dir="glue", epochs=3)
    """

    task: str
    method: Method | None = None
    files: DataFiles = dataclasses.field(default_factory=DataFiles)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    fit: FitConfig = dataclasses.field(default_factory=FitConfig)
    device: DeviceConfig = dataclasses.field(default_factory=DeviceConfig)
    keep: KeepConfig = dataclasses.field(default_factory=KeepConfig)
    search: SearchConfig | None = None

    def __post_init__(self) -> None:
        _check_choice("task", self.task, tuple(TASKS))
        check_files(self.task, TASKS[self.task], self.files)
        insertion = self.method.insertion if self.method else None
        if self.fit.rematerialize and getattr(insertion, "keeps_statistics", False):
            raise ValueError(
                "--rematerialize computes each block twice, so --adapter_norm=batch would count "
                "each batch twice in its moving statistics: leave out one of them"
            )
        if self.search is not None:
            self._check_search()

    def _check_search(self) -> None:
        """Checks that nothing is set that says how an encoder is trained."""
        if self.method is not None:
            raise ValueError(f"a search takes no method. Received: {self.method}")
        if not TASKS[self.task].form.pools:
            raise ValueError(
                f"--method={NO_BERT} searches models that give a whole text a class or a value; "
                f"--task={self.task} asks for spans"
            )
        for part in ("model", "fit", "device", "keep"):
            given, default = getattr(self, part), _PARTS[part]()
            for name in _names(_PARTS[part]):
                value = getattr(given, name)
                if name not in _OF_SEARCHES and value != getattr(default, name):
                    raise _not_of_a_search(name, value)

    @classmethod
    def from_settings(
        cls,
        task: str,
        method: str = "adapters",
        top_layers: int | None = None,
        train_layer_norm: bool = True,
        search_trials: int | None = None,
        search_seconds: float | None = None,
        **settings: Any,
    ) -> RunConfig:
        """Sorts settings, named as the flags are, into the parts.

        Those of `ADAPTER_FLAGS`, such as `adapter_size`, are the fields of an `AdapterConfig`;
        where none is given the task's recipe decides, and it gives the size where others are.

        Raises:
          ValueError: as the parts and `Method` do.
          TypeError: there is no setting of a name.
        """
        parts = {
            part: kind(**{name: settings.pop(name) for name in _names(kind) if name in settings})
            for part, kind in _PARTS.items()
        }
        adapters = {name: settings.pop(name) for name in ADAPTER_FLAGS if name in settings}
        if settings:
            raise TypeError(f"there are no settings {sorted(settings)}")
        search = _search(method, search_trials, search_seconds)
        if search is not None:
            for name, value in {**adapters, "top_layers": top_layers}.items():
                if value is not None:
                    raise _not_of_a_search(name, value)
            if train_layer_norm is not True:
                raise _not_of_a_search("train_layer_norm", train_layer_norm)
            return cls(task, None, **parts, search=search)
        recipe = TASKS[task].recipe_for(parts["model"].encoder) if task in TASKS else None
        size = recipe.adapter_size if recipe else AdapterConfig().size
        chosen = _method(method, adapters, size, top_layers, train_layer_norm)
        return cls(task, chosen, **parts)

    @staticmethod
    def setting_names() -> tuple[str, ...]:
        """Returns the names of the settings that `from_settings` takes."""
        parts = tuple(name for kind in _PARTS.values() for name in _names(kind))
        searches = ("search_trials", "search_seconds")
        methods = ("method", *ADAPTER_FLAGS, "top_layers", "train_layer_norm")
        return ("task", *methods, *searches, *parts)

    @property
    def method_name(self) -> str:
        """The method's name, once settled, as results and flags say it."""
        return self.method.name if self.search is None else NO_BERT

    def to_json_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON types, from which `from_json_dict` makes them again."""
        method = json.loads(self.method.to_json()) if self.method else None
        return json.loads(json.dumps({**dataclasses.asdict(self), "method": method}))

    @classmethod
    def from_json_dict(cls, settings: dict[str, Any]) -> RunConfig:
        """Makes a run's settings from what `to_json_dict` returned.

        Raises:
          ValueError: they are not that.
        """
        try:
            parts = {part: kind(**settings[part]) for part, kind in _PARTS.items()}
            method = settings["method"]
            method = None if method is None else Method.from_json(json.dumps(method))
            search = settings.get("search")
            search = None if search is None else SearchConfig(**search)
            return cls(settings["task"], method, **parts, search=search)
        except (KeyError, TypeError) as error:
            raise ValueError(f"these are not the settings of a run: {error!r}") from error

    def identity(self) -> dict[str, Any]:
        """Returns the settings that make a run what it is, by flag; call it once settled.

        Two runs that differ in others end with the same weights up to rounding: where the
        data and the encoder are, which have fingerprints of their own, on what devices it
        ran, and what was kept of it.
        """
        model, fit = dataclasses.asdict(self.model), dataclasses.asdict(self.fit)
        del model["encoder"], model["init_adapter"], fit["rematerialize"]
        method = json.loads(self.method.to_json()) if self.method else None
        kept = {"adapter_dtype": self.keep.adapter_dtype}
        search = None if self.search is None else dataclasses.asdict(self.search)
        named = {"task": self.task, "method": method, "search": search}
        return {**named, **model, **fit, **kept}


def _search(method: str, trials: int | None, seconds: float | None) -> SearchConfig | None:
    """Returns the search that flags ask for, if they ask for one."""
    given = {"trials": trials, "seconds": seconds}
    given = {name: value for name, value in given.items() if value is not None}
    if method == NO_BERT:
        # A time alone is not cut short by a default number of trials.
        return SearchConfig(**({"trials": None, **given} if given else {}))
    for name in given:
        raise ValueError(f"--search_{name} goes with --method={NO_BERT}, not {method}")
    return None


def _not_of_a_search(name: str, value: Any) -> ValueError:
    return ValueError(
        f"--{name} does not go with --method={NO_BERT}, which has no encoder. Received: {value!r}"
    )


def _method(
    name: str,
    adapters: dict[str, Any],
    size: int,
    top_layers: int | None,
    train_layer_norm: bool,
) -> Method | None:
    """Returns the method that flags name; `None` for adapters of the recipe's size alone."""
    _check_choice("method", name, METHOD_NAMES)
    _check_bool("train_layer_norm", train_layer_norm)
    if name != "adapters" and not train_layer_norm:
        raise ValueError(f"--train_layer_norm=false goes with --method=adapters, not {name}")
    given = [flag for flag, value in adapters.items() if value is not None]
    if name != "adapters" and given:
        raise ValueError(f"--{given[0]} goes with --method=adapters, not {name}")
    if (name == "top_layers") != (top_layers is not None):
        raise ValueError(
            "--top_layers and --method=top_layers go together. "
            f"Received: --method={name}, --top_layers={top_layers}"
        )
    _check_count("top_layers", top_layers)
    if name == "adapters":
        if not given and train_layer_norm:
            return None
        insertion = adapter_config(adapters, size)
        return Method(insertion, "layer_norms" if train_layer_norm else "nothing")
    return Method.named(name, top_layers=top_layers)


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _check_choice(name: str, value: Any, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        names = ", ".join(filter(None, allowed))
        raise ValueError(f"--{name} must be one of {names}. Received: {value!r}")


def _check_count(name: str, value: Any, optional: bool = True) -> None:
    if (value is not None or not optional) and not (_is_whole(value) and value >= 1):
        raise ValueError(f"--{name} must be a whole number of at least 1. Received: {value!r}")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"--{name} must not be empty. Received: {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # Bytes of a command line that are not.
        raise ValueError(f"--{name} must be UTF-8. Received: {value!r}") from error


def _check_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"--{name} must be true or false. Received: {value!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
