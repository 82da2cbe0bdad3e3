"""AdapterHub's settings of a bottleneck, as an `AdapterConfig` and back.

Reference:
  `BnConfig` in `adapters/configuration/adapter_config.py`, and `Adapter` in
  `adapters/methods/modeling.py`, of `adapters` 1.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.checks import real_number, shown

# Theirs, in lower case, by Keras's name. Only those that are the same function in both.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "linear": "linear",
    "mish": "mish",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "swish",
    "tanh": "tanh",
}
_THEIRS = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
# What a file without a version means by these names, and by no others.
_BEFORE_VERSIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}
_REQUIRED = ("mh_adapter", "output_adapter", "reduction_factor", "non_linearity")
_PLACES = {"attention": "mh_adapter", "feed_forward": "output_adapter"}
# Houlsby's adapters: each setting that another kind of adapter has otherwise. The first value
# is the default, and any is the same here.
_HOULSBY: Mapping[str, tuple[Any, ...]] = {
    "architecture": (None,),
    "original_ln_before": (False,),
    "original_ln_after": (True,),
    "ln_before": (False,),
    "ln_after": (False,),
    "is_parallel": (False,),
    "scaling": (1.0, 1),
    "use_gating": (False,),
    # Where nothing is normalised before the adapter, the residual is its input either way.
    "residual_before_ln": (True, False),
    "inv_adapter": (None,),
    "invertible_adapter": (None,),
    "cross_adapter": (False,),
    "phm_layer": (False,),
    "stochastic_depth": (0.0, 0),
}
# What only starts the training, or tells of a setting that is off above.
_WITHOUT_EFFECT = (
    *("init_weights", "init_weights_seed", "adapter_residual_before_ln"),
    *("inv_adapter_reduction_factor", "phm_dim", "factorized_phm_W", "shared_W_phm"),
    *("shared_phm_rule", "factorized_phm_rule", "phm_c_init", "phm_init_range", "learn_phm"),
    *("hypercomplex_nonlinearity", "phm_rank", "phm_bias"),
)
# What tells other adapters from Houlsby's in an `AdapterConfig`.
_VARIANTS = ("form", "norm", "hidden_layers", "scale", "gate")
_KNOWN = (*_REQUIRED, *_HOULSBY, *_WITHOUT_EFFECT, "leave_out", "dropout")
# What an exported folder says, so that a reader need not know the defaults.
_SAID = ("original_ln_before", "original_ln_after", "ln_before", "ln_after", "is_parallel")
_SAID += ("scaling", "use_gating", "residual_before_ln", "inv_adapter", "cross_adapter")


def read_bottleneck(
    config: Any, *, hidden_size: int, layers: int, versioned: bool, inverts: bool
) -> AdapterConfig:
    """Makes the settings of an adapter from AdapterHub's.

    Args:
      config: what stands under `config` in `adapter_config.json`.
      hidden_size: the encoder's.
      layers: the encoder's number of blocks.
      versioned: whether the file tells a version; without one its names of GELUs are older.
      inverts: whether invertible adapters may be meant: task adapters of older files name
        them without having them.

    Returns:
      The settings; `init_stddev`, of which a trained adapter needs nothing, is the default.

    Raises:
      ValueError: a setting is missing, malformed or one that an `AdapterConfig` cannot express;
        the text names it and its value.
    """
    config = _checked(config)
    for field, values in _HOULSBY.items():
        value = config.get(field, values[0])
        if not any(type(value) is type(v) and value == v for v in values) and (
            inverts or field not in ("inv_adapter", "invertible_adapter")
        ):
            raise ValueError(
                f"`{field}` must be {values[0]!r}, for the adapters here are those of Houlsby et "
                f"al. 2019 (double_seq_bn). Received: {field}={shown(value)}"
            )
    places = tuple(place for place, field in _PLACES.items() if _switch(config, field))
    if not places:
        raise ValueError(
            "`mh_adapter` or `output_adapter` must be true. Received: neither is, so there is no "
            "adapter"
        )
    left_out = config.get("leave_out", [])
    if not isinstance(left_out, list) or not all(
        type(index) is int and 0 <= index < layers for index in left_out
    ):
        raise ValueError(
            f"`leave_out` must be a list of numbers of the encoder's {layers} blocks, from 0. "
            f"Received: leave_out={shown(left_out)}"
        )
    indices = tuple(index for index in range(layers) if index not in left_out)
    if not indices:
        raise ValueError(f"`leave_out` must leave a block. Received: leave_out={shown(left_out)}")
    return AdapterConfig(
        size=_size(config["reduction_factor"], indices, hidden_size),
        activation=read_activation("non_linearity", config["non_linearity"], versioned),
        dropout=real_number("dropout", config.get("dropout", 0.0)),
        places=places,
        layers=indices if left_out else None,
    )


def write_bottleneck(config: AdapterConfig, *, hidden_size: int, layers: int) -> dict[str, Any]:
    """Returns AdapterHub's settings of an adapter, for `read_bottleneck` and their package.

    Raises:
      ValueError: it is of a variant that is not exported, or they have no name for its
        activation.
    """
    plain = AdapterConfig()
    for field in _VARIANTS:
        value = getattr(config, field)
        if value != getattr(plain, field):
            raise ValueError(
                f"`{field}` must be {getattr(plain, field)!r}, for what is exported are the "
                f"adapters of Houlsby et al. 2019 (double_seq_bn). Received: {field}={shown(value)}"
            )
    factor: Any = config.reduction_factor
    if isinstance(config.size, tuple):
        chosen = config.layers or range(layers)
        factor = {str(i): _factor(config.of_layer(i).size, hidden_size) for i in chosen}
        factor["default"] = min(factor.values())
    elif config.size is not None:
        factor = _factor(config.size, hidden_size)
    left_out = [] if config.layers is None else sorted(set(range(layers)) - set(config.layers))
    return {
        **{field: _HOULSBY[field][0] for field in _SAID},
        **{field: place in config.places for place, field in _PLACES.items()},
        "reduction_factor": factor,
        "non_linearity": write_activation(config.activation),
        "dropout": config.dropout,
        "leave_out": left_out,
        "adapter_residual_before_ln": False,
        "init_weights": "bert",
    }


def _factor(size: int, hidden_size: int) -> float:
    """Returns the middle of what gives a size, whatever is lost in the division."""
    return hidden_size / (size + 0.5)


def read_activation(field: str, name: Any, versioned: bool = True) -> str:
    """Returns Keras's name of an activation of theirs.

    Raises:
      ValueError: none is that function.
    """
    found = name
    if isinstance(name, str) and not versioned:
        found = _BEFORE_VERSIONS.get(name, name)
    if not isinstance(found, str) or found.lower() not in _ACTIVATIONS:
        raise ValueError(
            f"`{field}` must be one of {', '.join(_ACTIVATIONS)}, which are the same functions "
            f"here. Received: {field}={shown(name)}"
        )
    return _ACTIVATIONS[found.lower()]


def write_activation(name: str) -> str:
    """Returns their name of an activation of Keras's.

    Raises:
      ValueError: they have none.
    """
    if name not in _THEIRS:
        raise ValueError(
            f"AdapterHub has no name for the activation {name!r}. Those that it has: "
            f"{', '.join(_THEIRS)}"
        )
    return _THEIRS[name]


def _checked(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise ValueError(
            f"`config` must be an object of a bottleneck's settings. Received: {shown(config)}"
        )
    missing = [field for field in _REQUIRED if field not in config]
    if missing:
        kind = config.get("architecture")
        raise ValueError(
            f"`config` must have `{'`, `'.join(missing)}`, as a bottleneck adapter has"
            + (f". Its `architecture` is {shown(kind)}" if kind else "")
        )
    others = {f: v for f, v in config.items() if f not in _KNOWN and v not in (None, False)}
    for field, value in others.items():
        raise ValueError(
            f"`{field}` is no setting that is known here, and may change what the adapter "
            f"computes. Received: {field}={shown(value)}"
        )
    return config


def _switch(config: Mapping[str, Any], field: str) -> bool:
    if type(config[field]) is not bool:
        raise ValueError(
            f"`{field}` must be true or false. Received: {field}={shown(config[field])}"
        )
    return config[field]


def _size(reduction: Any, indices: tuple[int, ...], hidden_size: int) -> int | tuple[int, ...]:
    """Returns the widths of the bottlenecks, by their `int(hidden_size // reduction)`."""
    by_layer = {index: reduction for index in indices}
    if isinstance(reduction, dict):
        default = reduction.get("default")
        by_layer = {index: reduction.get(str(index), default) for index in indices}
    sizes = []
    for factor in by_layer.values():
        number = real_number("reduction_factor", factor)
        if number <= 0:
            raise ValueError(f"`reduction_factor` must be above 0. Received: {shown(reduction)}")
        sizes.append(max(1, int(min(hidden_size // number, 2**31))))
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)
