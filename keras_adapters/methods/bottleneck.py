"""What an adapter is: the settings of one, checked when they are made."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from keras_adapters.methods.checks import (
    distinct,
    read_object,
    real_number,
    sequence,
    shown,
    whole_number,
)

PLACES = ("attention", "feed_forward")
# Functions of `keras.activations` that are no activations, or none of one tensor to another.
NOT_ACTIVATIONS = ("get", "serialize", "deserialize", "glu", "threshold")
# A function's name, maybe with the package that it is registered in.
_NAME = re.compile(r"([\w.\- ]+>)?[A-Za-z_]\w*")


def check_bottleneck(size: Any, init_stddev: Any, dropout: Any) -> tuple[int, float, float]:
    """Checks the numbers that define a bottleneck.

    Args:
      size: the bottleneck's width m, an integer of at least 1.
      init_stddev: standard deviation of the kernels' initial values, finite and above 0.
      dropout: probability of dropping a unit, at least 0 and below 1.

    Returns:
      The three as numbers of Python's own, whether they came so or as NumPy's.

    Raises:
      ValueError: one of them is out of its range, or no number.
    """
    size = whole_number("size", size, 1)
    init_stddev = real_number("init_stddev", init_stddev)
    if not init_stddev > 0:
        raise ValueError(f"`init_stddev` must be above 0. Received: init_stddev={init_stddev}")
    dropout = real_number("dropout", dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}")
    return size, init_stddev, dropout


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    """Settings of the adapters in one encoder (Houlsby et al. 2019, section 2.1).

    Args:
      size: the bottleneck's width m.
      activation: name of the Keras activation inside the bottleneck. `"gelu"` is the
        erf form; `"gelu_tanh"` is the tanh approximation that the paper's released
        code used.
      init_stddev: standard deviation of the truncated-normal initial kernels. The
        paper uses 1e-2, its released code 1e-3.
      dropout: probability of dropping a unit of the up-projection while training.
      places: after which sub-layers of a block an adapter stands: `"attention"`,
        `"feed_forward"` or both.
      layers: indices of the blocks that get adapters, 0 being the lowest. `None` is all.

    Raises:
      ValueError: an argument is out of its range.

    Example:
    >>> AdapterConfig(size=8, places=("feed_forward",), layers=(4, 5))
    """

    size: int = 64
    activation: str = "gelu"
    init_stddev: float = 1e-2
    dropout: float = 0.0
    places: tuple[str, ...] = PLACES
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        numbers = check_bottleneck(self.size, self.init_stddev, self.dropout)
        for name, number in zip(("size", "init_stddev", "dropout"), numbers, strict=True):
            object.__setattr__(self, name, number)
        known = isinstance(self.activation, str) and _NAME.fullmatch(self.activation)
        if not known or self.activation in NOT_ACTIVATIONS:
            raise ValueError(
                "`activation` must be the name of a Keras activation. "
                f"Received: activation={shown(self.activation)}"
            )
        # JSON has no tuples: lists become tuples here so that equal settings compare equal.
        object.__setattr__(self, "places", sequence("places", self.places))
        unknown = [p for p in self.places if not isinstance(p, str) or p not in PLACES]
        if unknown or not self.places:
            raise ValueError(
                f"`places` must name at least one of {PLACES} and nothing else. "
                f"Received: places={shown(self.places)}"
            )
        distinct("places", self.places)
        if self.layers is not None:
            indices = sequence("layers", self.layers)
            if not indices:
                raise ValueError("`layers` must be None or hold at least one index. Received: ()")
            layers = tuple(whole_number("layers", index, 0) for index in indices)
            object.__setattr__(self, "layers", layers)
            distinct("layers", self.layers)

    def check_blocks(self, blocks: int) -> None:
        """Checks the settings against an encoder.

        Args:
          blocks: the encoder's number of blocks.

        Raises:
          ValueError: `layers` names a block that the encoder does not have.
        """
        beyond = [index for index in self.layers or () if index >= blocks]
        if beyond:
            raise ValueError(
                f"`layers` must be below the encoder's {blocks} blocks. Received: {beyond}"
            )

    def to_json(self) -> str:
        """Returns the settings as a JSON object."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AdapterConfig:
        """Makes the settings from `to_json`'s text.

        Raises:
          ValueError: the text is not a JSON object of this class's settings.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**read_object("an adapter configuration", text, names))
