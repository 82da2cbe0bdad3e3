"""AdapterHub's settings of a bottleneck, as an `AdapterConfig` and back.

Reference:
  `BnConfig` in `adapters/configuration/adapter_config.py`, and `Adapter` in
  `adapters/methods/modeling.py`, of `adapters` 1.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_adapters.methods.bottleneck import AdapterConfig, bottleneck_width
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
# Each setting that an adapter may have otherwise without one here that is the same: its default,
# and all that is the same here.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "architecture": (None,),
    "original_ln_after": (True,),
    "ln_before": (False,),
    "ln_after": (False,),
    "inv_adapter": (None,),
    "invertible_adapter": (None,),
    "cross_adapter": (False,),
    "phm_layer": (False,),
    "stochastic_depth": (0.0, 0),
}
# By form, what tells it from the others: double_seq_bn, seq_bn and par_bn. Where nothing is
# normalised before the adapter, the residual is its input either way.
_FORMS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "parallel": {
        "is_parallel": (True,),
        "original_ln_before": (False, True),
        "residual_before_ln": (True, False, "post_add"),
    },
    "after_norm": {
        "is_parallel": (False,),
        "original_ln_before": (True,),
        "residual_before_ln": (True,),
    },
    "sequential": {
        "is_parallel": (False,),
        "original_ln_before": (False,),
        "residual_before_ln": (True, False),
    },
}
_FORM_DEFAULTS = {"is_parallel": False, "original_ln_before": False, "residual_before_ln": True}
# By theirs, our scales that train.
_SCALES = {"learned": "learned", "channel": "per_channel"}
# What only starts the training, or tells of a setting that is off above.
_WITHOUT_EFFECT = (
    *("init_weights", "init_weights_seed", "adapter_residual_before_ln"),
    *("inv_adapter_reduction_factor", "phm_dim", "factorized_phm_W", "shared_W_phm"),
    *("shared_phm_rule", "factorized_phm_rule", "phm_c_init", "phm_init_range", "learn_phm"),
    *("hypercomplex_nonlinearity", "phm_rank", "phm_bias"),
)
_KNOWN = (*_REQUIRED, *_FIXED, *_FORM_DEFAULTS, *_WITHOUT_EFFECT)
_KNOWN += ("scaling", "use_gating", "leave_out", "dropout")
# What an exported folder says, so that a reader need not know the defaults.
_SAID = ("original_ln_after", "ln_before", "ln_after", "inv_adapter", "cross_adapter")
# What an `AdapterConfig` may have that theirs has not.
_OURS = ("norm", "hidden_layers")


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
    for field, values in _FIXED.items():
        value = config.get(field, values[0])
        if not _is_one_of(value, values) and (
            inverts or field not in ("inv_adapter", "invertible_adapter")
        ):
            raise ValueError(
                f"`{field}` must be {values[0]!r}, for there are no other such adapters here. "
                f"Received: {field}={shown(value)}"
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
        form=_read_form(config),
        scale=_read_scale(config.get("scaling", 1.0)),
        gate=_switch({"use_gating": False, **config}, "use_gating"),
    )


def write_bottleneck(config: AdapterConfig, *, hidden_size: int, layers: int) -> dict[str, Any]:
    """Returns AdapterHub's settings of an adapter, for `read_bottleneck` and their package.

    Raises:
      ValueError: it is of a variant that is not exported, or they have no name for its
        activation.
    """
    plain = AdapterConfig()
    for field in _OURS:
        value = getattr(config, field)
        if value != getattr(plain, field):
            raise ValueError(
                f"`{field}` must be {getattr(plain, field)!r}, for AdapterHub has no such "
                f"adapters. Received: {field}={shown(value)}"
            )
    if config.form not in _FORMS:
        raise ValueError(
            f"`form` must be one of {tuple(_FORMS)}, for AdapterHub has no such adapters. "
            f"Received: form={config.form!r}"
        )
    scales = {ours: theirs for theirs, ours in _SCALES.items()}
    factor: Any = config.reduction_factor
    if isinstance(config.size, tuple):
        chosen = config.layers or range(layers)
        factor = {str(i): _factor(config.of_layer(i).size, hidden_size) for i in chosen}
        factor["default"] = min(factor.values())
    elif config.size is not None:
        factor = _factor(config.size, hidden_size)
    left_out = [] if config.layers is None else sorted(set(range(layers)) - set(config.layers))
    return {
        **{field: _FIXED[field][0] for field in _SAID},
        **{field: values[0] for field, values in _FORMS[config.form].items()},
        # A float: they take no integer.
        "scaling": scales.get(config.scale, config.scale),
        "use_gating": config.gate,
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


def _is_one_of(value: Any, values: tuple[Any, ...]) -> bool:
    return any(type(value) is type(v) and value == v for v in values)


def _read_form(config: Mapping[str, Any]) -> str:
    told = {field: config.get(field, default) for field, default in _FORM_DEFAULTS.items()}
    for form, fields in _FORMS.items():
        if all(_is_one_of(told[field], values) for field, values in fields.items()):
            return form
    received = ", ".join(f"{field}={shown(value)}" for field, value in told.items())
    raise ValueError(
        "`is_parallel`, `original_ln_before` and `residual_before_ln` must be those of "
        f"double_seq_bn, seq_bn or par_bn, for such are the adapters here. Received: {received}"
    )


def _read_scale(scaling: Any) -> float | str:
    if isinstance(scaling, str) and scaling in _SCALES:
        return _SCALES[scaling]
    number = None if isinstance(scaling, str) else real_number("scaling", scaling)
    if number is None or number <= 0:
        raise ValueError(
            f"`scaling` must be a number above 0 or one of {tuple(_SCALES)}. "
            f"Received: scaling={shown(scaling)}"
        )
    return number


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
        sizes.append(bottleneck_width(None, number, hidden_size))
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)
