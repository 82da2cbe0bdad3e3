"""What one run is: every setting, in parts, and what goes with what.

Nothing here reads a disk or a network; `train.settle` fills in what depends on the encoder.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS, Method
from train.adapter_flags import ADAPTER_FLAGS, adapter_config
from train.config_parts import (
    DeviceConfig,
    FitConfig,
    KeepConfig,
    ModelConfig,
    SearchConfig,
    check_bool,
    check_choice,
    check_count,
)
from train.tasks.files import DataFiles
from train.tasks.table import TASKS
from train.tasks.task import check_files

NO_BERT = "no_bert"  # No transfer: a search over models of the task alone.
METHOD_NAMES = (*METHODS, NO_BERT)
# The settings that such a search takes, of those that say how a model is made.
_OF_SEARCHES = ("seed", "max_train_examples", "output_dir", "export")

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
        check_choice("task", self.task, tuple(TASKS))
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
        fit["pack"] = bool(fit["pack"])  # Dropout draws for places in rows.
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
    check_choice("method", name, METHOD_NAMES)
    check_bool("train_layer_norm", train_layer_norm)
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
    check_count("top_layers", top_layers)
    if name == "adapters":
        if not given and train_layer_norm:
            return None
        insertion = adapter_config(adapters, size)
        return Method(insertion, "layer_norms" if train_layer_norm else "nothing")
    return Method.named(name, top_layers=top_layers)


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))
