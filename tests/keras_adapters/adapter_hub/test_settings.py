import json

import pytest

from keras_adapters.adapter_hub.settings import (
    read_activation,
    read_bottleneck,
    write_bottleneck,
)
from keras_adapters.methods.bottleneck import AdapterConfig

DOUBLE_SEQ_BN = {
    "mh_adapter": True,
    "output_adapter": True,
    "reduction_factor": 16,
    "non_linearity": "swish",
}


def read(hidden_size=768, layers=12, versioned=True, inverts=True, **changes):
    return read_bottleneck(
        {**DOUBLE_SEQ_BN, **changes},
        hidden_size=hidden_size,
        layers=layers,
        versioned=versioned,
        inverts=inverts,
    )


def test_reads_double_seq_bn():
    assert read() == AdapterConfig(size=48, activation="swish")


@pytest.mark.parametrize("hidden_size", [16, 128, 312, 384, 768, 1024])
def test_every_size_comes_back(hidden_size):
    for size in range(1, 2 * hidden_size):
        settings = json.loads(
            json.dumps(
                write_bottleneck(AdapterConfig(size=size), hidden_size=hidden_size, layers=2)
            )
        )
        assert int(hidden_size // settings["reduction_factor"]) == size  # As theirs computes it.
        assert read_bottleneck(
            settings, hidden_size=hidden_size, layers=2, versioned=True, inverts=True
        ) == AdapterConfig(size=size)


@pytest.mark.parametrize(
    "config",
    [
        AdapterConfig(size=5, places=("attention",), layers=(0, 3), dropout=0.25),
        AdapterConfig(size=5, places=("feed_forward",), activation="gelu_tanh"),
        AdapterConfig(size=(5, 7, 5, 3)),
        AdapterConfig(5, form="after_norm", scale="per_channel"),
        AdapterConfig(5, form="parallel", scale=4.0, gate=True),
        AdapterConfig(5, scale="learned"),
        AdapterConfig(size=(5, 7), layers=(1, 2)),
        *(AdapterConfig(activation=name) for name in ("relu", "relu6", "silu", "tanh", "mish")),
        *(AdapterConfig(activation=name) for name in ("swish", "sigmoid", "linear", "gelu")),
    ],
)
def test_all_settings_come_back(config):
    settings = write_bottleneck(config, hidden_size=32, layers=4)
    back = read_bottleneck(settings, hidden_size=32, layers=4, versioned=True, inverts=True)
    assert back == config


def test_gelu_is_what_the_version_says():
    names = {
        name: [read(non_linearity=name, versioned=v).activation for v in (True, False)]
        for name in ("gelu", "gelu_new")
    }
    assert names == {"gelu": ["gelu", "gelu_tanh"], "gelu_new": ["gelu_tanh", "gelu_tanh"]}
    assert read(non_linearity="gelu_orig", versioned=False).activation == "gelu"
    with pytest.raises(ValueError, match="gelu_orig"):
        read(non_linearity="gelu_orig")


def test_activations_are_the_same_functions():
    import numpy as np
    import tf_keras
    from scipy.special import erf

    from keras_adapters.model_garden import BottleneckAdapter

    x = np.linspace(-8, 8, 201, dtype="float32")
    sigmoid = 1 / (1 + np.exp(-x))
    tanh_gelu = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    formulas = {  # Those of transformers' `ACT2FN`.
        "gelu": x * 0.5 * (1 + erf(x / np.sqrt(2))),
        **dict.fromkeys(["gelu_new", "gelu_accurate", "gelu_fast"], tanh_gelu),
        **dict.fromkeys(["gelu_pytorch_tanh", "gelu_python_tanh"], tanh_gelu),
        "linear": x,
        "mish": x * np.tanh(np.log1p(np.exp(x))),
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "sigmoid": sigmoid,
        **dict.fromkeys(["silu", "Swish"], x * sigmoid),
        "tanh": np.tanh(x),
    }
    for theirs, values in formulas.items():
        layer = BottleneckAdapter(1, activation=read_activation("non_linearity", theirs))
        layer.build((None, 1))
        layer.down.kernel.assign([[1.0]])
        layer.up.kernel.assign([[1.0]])
        found = layer(tf_keras.backend.constant(x[:, None])).numpy()[:, 0] - x
        np.testing.assert_allclose(found, values, rtol=0, atol=5e-6, err_msg=theirs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"original_ln_after": False}, "original_ln_after=False"),
        ({"ln_before": True}, "ln_before=True"),
        ({"ln_after": True}, "ln_after=True"),
        ({"scaling": True}, "scaling=True"),
        ({"scaling": 0.0}, "scaling=0.0"),
        ({"scaling": "much"}, "scaling='much'"),
        ({"scaling": None}, "scaling=None"),
        ({"use_gating": 1}, "use_gating=1"),
        ({"is_parallel": 1}, "is_parallel=1"),
        ({"original_ln_before": True, "residual_before_ln": False}, "residual_before_ln=False"),
        ({"residual_before_ln": "post_add"}, "residual_before_ln='post_add'"),
        ({"inv_adapter": "nice"}, "inv_adapter='nice'"),
        ({"cross_adapter": True}, "cross_adapter=True"),
        ({"phm_layer": True}, "phm_layer=True"),
        ({"stochastic_depth": 0.1}, "stochastic_depth=0.1"),
        ({"architecture": "lora"}, "architecture='lora'"),
        ({"something_new": 3}, "something_new=3"),
        ({"mh_adapter": 1}, "mh_adapter=1"),
        ({"mh_adapter": False, "output_adapter": False}, "no adapter"),
        ({"non_linearity": "leakyrelu"}, "non_linearity='leakyrelu'"),
        ({"non_linearity": ["relu"]}, "non_linearity"),
        ({"non_linearity": None}, "non_linearity=None"),
        ({"reduction_factor": 0}, "`reduction_factor` must be above 0"),
        ({"reduction_factor": True}, "reduction_factor=True"),
        ({"reduction_factor": "16"}, "reduction_factor='16'"),
        ({"reduction_factor": {"0": 8}}, "reduction_factor=None"),
        ({"reduction_factor": 1e-300}, "size"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": "a"}, "dropout='a'"),
        ({"leave_out": [12]}, r"leave_out=\[12\]"),
        ({"leave_out": [-1]}, r"leave_out=\[-1\]"),
        ({"leave_out": ["1"]}, "leave_out"),
        ({"leave_out": list(range(12))}, "must leave a block"),
    ],
)
def test_refuses_what_cannot_be_expressed(changes, message):
    with pytest.raises(ValueError, match=message):
        read(**changes)


@pytest.mark.parametrize("config", [None, [], "houlsby", {}, {"architecture": "prefix_tuning"}])
def test_refuses_what_is_no_bottleneck(config):
    with pytest.raises(ValueError, match="config"):
        read_bottleneck(config, hidden_size=8, layers=2, versioned=True, inverts=True)


def test_reduction_by_layers_and_layers_left_out():
    reduction = {"0": 8, "default": 16}
    assert read(reduction_factor=reduction, leave_out=[0]).layers == tuple(range(1, 12))
    assert read(reduction_factor={"default": 1e9}).size == 1


def test_task_adapters_of_old_name_inverses_without_having_them():
    named = {"invertible_adapter": {"block_type": "nice", "reduction_factor": 2}}
    assert read(inverts=False, **named) == read()
    with pytest.raises(ValueError, match="invertible_adapter"):
        read(**named)


@pytest.mark.parametrize("activation", ["elu", "leaky_relu", "mine>relu"])
def test_refuses_to_export_other_activations(activation):
    with pytest.raises(ValueError, match=activation):
        write_bottleneck(AdapterConfig(activation=activation), hidden_size=8, layers=2)


def test_a_layer_may_have_a_size_of_its_own():
    reduction = {"0": 8, "default": 16}
    assert read(layers=3, reduction_factor=reduction).size == (96, 48, 48)
    assert read(layers=3, reduction_factor=reduction, leave_out=[0]).size == 48
    config = AdapterConfig(reduction_factor=7)
    settings = write_bottleneck(config, hidden_size=768, layers=2)
    assert settings["reduction_factor"] == 7
    back = read_bottleneck(settings, hidden_size=768, layers=2, versioned=True, inverts=True)
    assert back == AdapterConfig(109)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("form", "parallel_multiplicative"),
        ("norm", "layer"),
        ("norm", "batch"),
        ("hidden_layers", 2),
    ],
)
def test_variants_that_theirs_lack_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be .*AdapterHub.*{field}={value!r}"):
        write_bottleneck(AdapterConfig(**{field: value}), hidden_size=8, layers=2)


def test_pfeiffers_and_hes_adapters_are_theirs():
    """The settings of their `SeqBnConfig` and `ParBnConfig`, whose defaults these are."""
    only = {"mh_adapter": False, "output_adapter": True, "non_linearity": "relu"}
    ours = {"activation": "relu", "places": ("feed_forward",)}
    seq_bn = read(**only, original_ln_before=True)
    assert seq_bn == AdapterConfig(48, form="after_norm", **ours)
    par_bn = read(**only, reduction_factor=2, is_parallel=True, scaling=4.0)
    assert par_bn == AdapterConfig(384, form="parallel", scale=4, **ours)
    written = write_bottleneck(par_bn, hidden_size=768, layers=12)
    assert (written["is_parallel"], written["scaling"]) == (True, 4.0)
    assert type(written["scaling"]) is float
