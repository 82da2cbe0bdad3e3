"""What an adapter is: the settings of one, checked when they are made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

PLACES = ("attention", "feed_forward")


def check_bottleneck(size: int, init_stddev: float, dropout: float) -> None:
    """Checks the numbers that define a bottleneck.

    Args:
      size: the bottleneck's width m, an integer of at least 1.
      init_stddev: standard deviation of the kernels' initial values, above 0.
      dropout: probability of dropping a unit, at least 0 and below 1.

    Raises:
      ValueError: one of them is out of its range.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"`size` must be an integer of at least 1. Received: size={size!r}")
    if not init_stddev > 0:
        raise ValueError(f"`init_stddev` must be above 0. Received: init_stddev={init_stddev!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout!r}")


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
        check_bottleneck(self.size, self.init_stddev, self.dropout)
        if not isinstance(self.activation, str) or not self.activation:
            raise ValueError(
                "`activation` must be the name of a Keras activation. "
                f"Received: activation={self.activation!r}"
            )
        # JSON has no tuples: lists become tuples here so that equal settings compare equal.
        object.__setattr__(self, "places", _distinct("places", self.places))
        unknown = [place for place in self.places if place not in PLACES]
        if unknown or not self.places:
            raise ValueError(
                f"`places` must name at least one of {PLACES} and nothing else. "
                f"Received: places={self.places!r}"
            )
        if self.layers is not None:
            object.__setattr__(self, "layers", _distinct("layers", self.layers))
            if not self.layers or any(
                isinstance(index, bool) or not isinstance(index, int) or index < 0
                for index in self.layers
            ):
                raise ValueError(
                    "`layers` must be None or at least one block index, each 0 or above. "
                    f"Received: layers={self.layers!r}"
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
        settings: Any = json.loads(text)
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(settings, dict) or set(settings) - names:
            raise ValueError(
                f"an adapter configuration is a JSON object with the keys {sorted(names)}. "
                f"Received: {text}"
            )
        return cls(**settings)


def _distinct(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(values, str):
        raise ValueError(f"`{name}` must be a sequence, not one string. Received: {values!r}")
    values = tuple(values)
    if len(set(values)) != len(values):
        raise ValueError(f"`{name}` must not repeat a value. Received: {name}={values!r}")
    return values
