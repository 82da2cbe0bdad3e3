"""What an adapter is: the settings of one, checked when they are made."""

from __future__ import annotations

import dataclasses
import inspect
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
# What an adapter of each form reads at its sub-layer.
READS = {
    "sequential": "output",
    "after_norm": "normalised",
    "parallel": "input",
    "parallel_multiplicative": "input",
}
FORMS = tuple(READS)
NORMS = ("layer", "batch")
SCALES = ("learned", "per_channel")
# Functions of `keras.activations` that are no activations, or none of one tensor to another.
NOT_ACTIVATIONS = ("get", "serialize", "deserialize", "glu", "threshold")
DEFAULT_SIZE = 64
# A function's name, maybe with the package that it is registered in.
_NAME = re.compile(r"([\w.\- ]+>)?[A-Za-z_]\w*")


def check_bottleneck(
    *,
    size: Any,
    reduction_factor: Any,
    init_stddev: Any,
    dropout: Any,
    form: Any,
    norm: Any,
    hidden_layers: Any,
    scale: Any,
    gate: Any,
) -> dict[str, Any]:
    """Checks the settings that define one bottleneck.

    Args:
      size: the bottleneck's width m, an integer of at least 1, or `None`.
      reduction_factor: what m is of the features d, a number above 0, or `None`; one of the
        two is given.
      init_stddev: standard deviation of the kernels' initial values, finite and above 0.
      dropout: probability of dropping a unit, at least 0 and below 1.
      form: one of `FORMS`.
      norm: one of `NORMS`, or `None`.
      hidden_layers: an integer of at least 1.
      scale: a finite number above 0, or one of `SCALES`.
      gate: a boolean.

    Returns:
      The settings by name, numbers as Python's own, whether they came so or as NumPy's.

    Raises:
      ValueError: one of them is out of its range, or not of its type.
    """
    if size is not None and reduction_factor is not None:
        raise ValueError(
            "`size` and `reduction_factor` each give the bottleneck's width: give one. "
            f"Received: size={shown(size)}, reduction_factor={shown(reduction_factor)}"
        )
    if size is not None or reduction_factor is None:
        size = whole_number("size", size, 1)
    if reduction_factor is not None:
        reduction_factor = _above_zero("reduction_factor", reduction_factor)
    dropout = real_number("dropout", dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}")
    _one_of("form", form, FORMS)
    _one_of("norm", norm, (*NORMS, None))
    if isinstance(scale, str):
        _one_of("scale", scale, SCALES, "a number or ")
    else:
        scale = _above_zero("scale", scale)
    if not isinstance(gate, bool):
        raise ValueError(f"`gate` must be True or False. Received: gate={shown(gate)}")
    return {
        "size": size,
        "reduction_factor": reduction_factor,
        "init_stddev": _above_zero("init_stddev", init_stddev),
        "dropout": dropout,
        "form": form,
        "norm": norm,
        "hidden_layers": whole_number("hidden_layers", hidden_layers, 1),
        "scale": scale,
        "gate": gate,
    }


# The settings of one bottleneck, without its activation, which each Keras checks for itself.
_OF_ONE = tuple(inspect.signature(check_bottleneck).parameters)


def bottleneck_width(size: int | None, reduction_factor: float | None, features: int) -> int:
    """Returns the width m of a bottleneck of checked settings, for d features."""
    if size is not None:
        return size
    # At the most one more than a size may be, for the division may give infinity.
    return max(1, int(min(features // reduction_factor, 2**31)))


def _above_zero(name: str, value: Any) -> float:
    number = real_number(name, value)
    if not number > 0:
        raise ValueError(f"`{name}` must be above 0. Received: {name}={number}")
    return number


def _one_of(name: str, value: Any, allowed: tuple[str | None, ...], beside: str = "") -> None:
    if not (value is None or isinstance(value, str)) or value not in allowed:
        raise ValueError(
            f"`{name}` must be {beside}one of {allowed}. Received: {name}={shown(value)}"
        )


@dataclasses.dataclass(frozen=True, repr=False)
class AdapterConfig:
    """Settings of the adapters in one encoder (Houlsby et al. 2019, section 2.1).

    What an adapter computes of d features x is its change, with σ the activation:

        f(x) = gate(x) * scale * dropout(up(σ(hidden(... σ(down(norm(x)))))))

    and `form` says what x is and where the change goes. With h a sub-layer's output behind its
    dropout, r what its residual connection adds, and `norm` the sub-layer's LayerNorm, that
    sub-layer becomes, where the plain one is `norm(r + h)`:

    | `form`                    | the sub-layer                 | x               |
    |---------------------------|-------------------------------|-----------------|
    | `sequential`              | norm(r + h + f(x))            | h               |
    | `after_norm`              | norm(r + h + f(x))            | norm(r + h)     |
    | `parallel`                | norm(r + h + f(x))            | its input       |
    | `parallel_multiplicative` | norm(r + h * (1 + f(x)))      | its input       |

    `sequential` is Houlsby et al.'s; `after_norm` Pfeiffer et al.'s, of places the feed-forward
    network's alone, where one LayerNorm is applied twice (AdapterHub's `seq_bn`); `parallel` is
    He et al.'s, with a `scale` of 4 (AdapterHub's `par_bn`). A sub-layer's input is what it
    takes itself: in blocks that normalise last, attention's is the block's input and the
    feed-forward network's is attention's normalised output, which are also their r; in blocks
    that normalise first it is normalised. All start near the identity, for `up` starts near zero.

    Args:
      size: the bottleneck's width m; a tuple has one for each layer that gets adapters, in the
        order of `layers`. By default 64.
      activation: name of the Keras activation inside the bottleneck. `"gelu"` is the
        erf form; `"gelu_tanh"` is the tanh approximation that the paper's released
        code used.
      init_stddev: standard deviation of the truncated-normal initial kernels. The
        paper uses 1e-2, its released code 1e-3.
      dropout: probability of dropping a unit of the up-projection while training.
      places: at which sub-layers of a block an adapter stands: `"attention"`,
        `"feed_forward"` or both.
      layers: indices of the blocks that get adapters, 0 being the lowest. `None` is all.
      reduction_factor: instead of `size`: m is `int(d // reduction_factor)`, and at least 1.
      form: what the adapters read and where their change goes, see above.
      norm: what normalises x before the down-projection: `"layer"`, a LayerNorm of the
        adapter's own; `"batch"`, a BatchNorm, in training over all tokens, padding too, of what
        is computed at once (a batch, or its part on one replica), whose moving statistics
        (momentum 0.9) are kept and saved but do not train; or nothing.
      hidden_layers: layers of m units between `down`'s input and `up`; each beyond the first
        is an m -> m dense layer with a bias, followed by the activation.
      scale: a number above 0; `"learned"`, a scalar that trains and starts at 1; or
        `"per_channel"`, a vector of d such.
      gate: whether the change is multiplied by the mean over tokens of sigmoid(w x + b), one
        number for each row, as AdapterHub's `use_gating` (UniPELT). All positions count, as
        there: what a text gets depends on how far it is padded.

    Raises:
      ValueError: an argument is out of its range, or two contradict each other.

    Example:
    >>> AdapterConfig(size=8, places=("feed_forward",), layers=(4, 5))
    >>> AdapterConfig(size=512, places=("feed_forward",), form="parallel", scale=4)

    Reference:
      Houlsby et al. 2019, sections 2.1 and 3.6 (variants); Pfeiffer et al. 2021
      (arXiv 2005.00247); He et al. 2022 (arXiv 2110.04366); Mao et al. 2022 (arXiv 2110.07577).
    """

    size: int | tuple[int, ...] | None = None
    activation: str = "gelu"
    init_stddev: float = 1e-2
    dropout: float = 0.0
    places: tuple[str, ...] = PLACES
    layers: tuple[int, ...] | None = None
    reduction_factor: float | None = None
    form: str = "sequential"
    norm: str | None = None
    hidden_layers: int = 1
    scale: float | str = 1.0
    gate: bool = False

    def __post_init__(self) -> None:
        if self.size is None and self.reduction_factor is None:
            object.__setattr__(self, "size", DEFAULT_SIZE)
        checked = self._check_size()
        for name, value in checked.items():
            object.__setattr__(self, name, value)
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
            self._check_sizes(len(layers))

    def __repr__(self) -> str:
        """Returns the expression that makes the settings, without what is as by default."""
        told = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"AdapterConfig({', '.join(told)})"

    def _check_size(self) -> dict[str, Any]:
        """Returns the settings of one bottleneck, and `size` as it is, checked."""
        settings = {name: getattr(self, name) for name in _OF_ONE}
        if not isinstance(self.size, list | tuple):
            return check_bottleneck(**settings)
        if not self.size:
            raise ValueError("`size` must be a number or hold at least one. Received: size=()")
        each = [check_bottleneck(**{**settings, "size": size}) for size in self.size]
        return {**each[0], "size": tuple(one["size"] for one in each)}

    def _check_sizes(self, layers: int) -> None:
        if isinstance(self.size, tuple) and len(self.size) != layers:
            raise ValueError(
                f"`size` must be one number, or one for each of the {layers} layers that get "
                f"adapters. Received: {len(self.size)} sizes"
            )

    def check_blocks(self, blocks: int) -> None:
        """Checks the settings against an encoder.

        Args:
          blocks: the encoder's number of blocks.

        Raises:
          ValueError: `layers` names a block that the encoder does not have, or `size` holds
            more or fewer sizes than there are layers to get adapters.
        """
        beyond = [index for index in self.layers or () if index >= blocks]
        if beyond:
            raise ValueError(
                f"`layers` must be below the encoder's {blocks} blocks. Received: {beyond}"
            )
        self._check_sizes(blocks if self.layers is None else len(self.layers))

    def of_layer(self, index: int) -> AdapterConfig:
        """Returns the settings of one layer's adapters: these, with that layer's size.

        Args:
          index: one of `layers`, or any where those are `None`.
        """
        if not isinstance(self.size, tuple):
            return self
        place = index if self.layers is None else self.layers.index(index)
        return dataclasses.replace(self, size=self.size[place], layers=(index,))

    @property
    def reads(self) -> str:
        """What an adapter reads at its sub-layer: `output`, `normalised` or `input`."""
        return READS[self.form]

    @property
    def needs_all_positions(self) -> bool:
        """Whether what it computes of one position depends on which others are computed."""
        return self.gate

    @property
    def keeps_statistics(self) -> bool:
        """Whether training changes what it computes beside the steps of the optimiser."""
        return self.norm == "batch"

    @property
    def varies(self) -> bool:
        """Whether layers differ in their adapters' sizes."""
        return isinstance(self.size, tuple) and len(set(self.size)) > 1

    def width(self, features: int) -> int:
        """Returns the bottleneck's width m for d features, of settings with one size."""
        return bottleneck_width(self.size, self.reduction_factor, features)

    def layer_arguments(self) -> dict[str, Any]:
        """Returns the arguments of a `BottleneckAdapter` of settings with one size."""
        return {name: getattr(self, name) for name in (*_OF_ONE, "activation")}

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
