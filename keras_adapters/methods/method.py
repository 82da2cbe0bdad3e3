"""A transfer method: what is inserted into an encoder, and which parts of the base train."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.checks import read_object, shown, whole_number

# What can be inserted, by the `type` that JSON carries.
INSERTIONS = {"bottleneck": AdapterConfig}
# Which parts of the pretrained encoder can train.
PARTS = ("nothing", "layer_norms", "top_layers", "all")
_IN_WORDS = {
    "nothing": "nothing of the base",
    "layer_norms": "every LayerNorm, the embeddings' too",
    "top_layers": "the top n layers and the pooler",
    "all": "everything",
}


@dataclasses.dataclass(frozen=True)
class MethodRow:
    """One row of the table of methods.

    Args:
      insertion: class of what the method inserts, or `None`.
      trains: which part of the base trains, one of `PARTS`.
      learning_rate: peak rate of AdamW where nothing better is known of a task. Of the
        paper's grids: few parameters take a high rate, a pretrained network a low one.
      summary: what trains, in words.
    """

    insertion: type | None
    trains: str
    learning_rate: float
    summary: str


METHODS: Mapping[str, MethodRow] = {
    "adapters": MethodRow(
        AdapterConfig, "layer_norms", 3e-3, "adapters and every LayerNorm, the embeddings' too"
    ),
    "full": MethodRow(None, "all", 5e-5, "everything: fine-tuning"),
    "top_layers": MethodRow(
        None, "top_layers", 5e-5, 'the top n layers and the pooler: "variable fine-tuning"'
    ),
    "feature_based": MethodRow(None, "nothing", 1e-3, "nothing but the head"),
    "layer_norm": MethodRow(None, "layer_norms", 1e-3, "every LayerNorm"),
}


@dataclasses.dataclass(frozen=True)
class Method:
    """How a pretrained encoder is transferred to a task.

    What lies outside of the encoder, the task's head, always trains. Inside, what is
    inserted trains, and of the base:

    | `trains`      | of the base                                             |
    |---------------|---------------------------------------------------------|
    | `nothing`     | nothing                                                 |
    | `layer_norms` | every LayerNorm, the embeddings' too                    |
    | `top_layers`  | the top n layers and the pooler                         |
    | `all`         | everything                                              |

    Args:
      insertion: what is inserted, of one of the classes in `INSERTIONS`, or `None`.
      trains: which part of the base trains, one of `PARTS`.
      top_layers: n, at least 1; goes with `trains="top_layers"` and with nothing else.

    Raises:
      ValueError: an argument is out of its range, or two contradict each other.

    Example:
    >>> Method(AdapterConfig(size=64)) == Method.named("adapters", AdapterConfig(size=64))
    True
    >>> Method.named("top_layers", top_layers=3)
    Method(insertion=None, trains='top_layers', top_layers=3)

    Reference:
      Houlsby et al. 2019, sections 2.1 and 3.
    """

    insertion: AdapterConfig | None = None
    trains: str = "layer_norms"
    top_layers: int | None = None

    def __post_init__(self) -> None:
        if self.insertion is not None and type(self.insertion) not in INSERTIONS.values():
            raise ValueError(
                f"`insertion` must be None or one of {_names(INSERTIONS.values())}. "
                f"Received: insertion={shown(self.insertion)}"
            )
        if not isinstance(self.trains, str) or self.trains not in PARTS:
            raise ValueError(
                f"`trains` must be one of {PARTS}. Received: trains={shown(self.trains)}"
            )
        if (self.trains == "top_layers") != (self.top_layers is not None):
            raise ValueError(
                "`top_layers` goes with the training of the top layers and with no other. "
                f"Received: trains={shown(self.trains)}, top_layers={shown(self.top_layers)}"
            )
        if self.top_layers is not None:
            object.__setattr__(self, "top_layers", whole_number("top_layers", self.top_layers, 1))

    @classmethod
    def named(
        cls, name: str, insertion: AdapterConfig | None = None, top_layers: int | None = None
    ) -> Method:
        """Makes the method of a row of `METHODS`.

        Args:
          name: the row's.
          insertion: settings of what the row inserts; by default that class's own.
          top_layers: n of the row `top_layers`.

        Raises:
          ValueError: there is no such row, or an argument is not one of the row's.
        """
        if not isinstance(name, str) or name not in METHODS:
            raise ValueError(
                f"`method` must be one of {tuple(METHODS)}. Received: method={shown(name)}"
            )
        row = METHODS[name]
        if insertion is None and row.insertion:
            insertion = row.insertion()
        if not (insertion is None if row.insertion is None else type(insertion) is row.insertion):
            wanted = row.insertion.__name__ if row.insertion else "nothing"
            raise ValueError(
                f"the method {shown(name)} inserts {wanted}. Received: insertion={shown(insertion)}"
            )
        return cls(insertion, row.trains, top_layers)

    @classmethod
    def of(cls, method: Method | AdapterConfig | str) -> Method:
        """Returns the method that a user means.

        Args:
          method: a `Method`; a row's name; or what is to be inserted, such as an
            `AdapterConfig`, for the row that inserts it.

        Raises:
          ValueError: it is none of them.
        """
        if isinstance(method, Method):
            return method
        if isinstance(method, str):
            return cls.named(method)
        for name, row in METHODS.items():
            if row.insertion and type(method) is row.insertion:
                return cls.named(name, method)
        raise ValueError(
            f"`method` must be a Method, one of the names {tuple(METHODS)} or one of "
            f"{_names(INSERTIONS.values())}. Received: method={shown(method)}"
        )

    @property
    def name(self) -> str:
        """The name of the row of `METHODS` that this is, or is nearest to."""
        inserted = type(self.insertion) if self.insertion is not None else None
        rows = [name for name, row in METHODS.items() if row.insertion is inserted]
        exact = [name for name in rows if METHODS[name].trains == self.trains]
        return (exact or rows)[0]

    @property
    def summary(self) -> str:
        """What trains, in words; of a row of `METHODS` the row's."""
        row = METHODS[self.name]
        if row.trains == self.trains:
            return row.summary
        part = _IN_WORDS[self.trains]
        return f"{self.name} and {part}" if row.insertion else part

    def check_blocks(self, blocks: int) -> None:
        """Checks the method against an encoder, before there is one.

        Args:
          blocks: the encoder's number of blocks.

        Raises:
          ValueError: `top_layers` is above it, or what is inserted does not fit.
        """
        if self.top_layers is not None and self.top_layers > blocks:
            raise ValueError(
                f"`top_layers` must be 1 to {blocks}, the encoder's number of blocks. "
                f"Received: top_layers={self.top_layers}"
            )
        if self.insertion is not None:
            self.insertion.check_blocks(blocks)

    def to_json(self) -> str:
        """Returns the method as a JSON object; of what is inserted it says the `type`."""
        insertion = None
        if self.insertion is not None:
            (kind,) = (k for k, cls in INSERTIONS.items() if type(self.insertion) is cls)
            insertion = {"type": kind, **dataclasses.asdict(self.insertion)}
        return json.dumps({**dataclasses.asdict(self), "insertion": insertion})

    @classmethod
    def from_json(cls, text: str) -> Method:
        """Makes a method from `to_json`'s text.

        Raises:
          ValueError: the text is not a JSON object of a method.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        settings = read_object("a method", text, names)
        insertion = settings.get("insertion")
        if insertion is not None:
            kind = insertion.get("type") if isinstance(insertion, dict) else None
            if not isinstance(kind, str) or kind not in INSERTIONS:
                raise ValueError(
                    f"`insertion` must be null or an object whose `type` is one of "
                    f"{tuple(INSERTIONS)}. Received: {shown(insertion)}"
                )
            rest = {key: value for key, value in insertion.items() if key != "type"}
            insertion = INSERTIONS[kind].from_json(json.dumps(rest))
        return cls(**{**settings, "insertion": insertion})


def _names(classes: Any) -> str:
    return ", ".join(cls.__name__ for cls in classes)
