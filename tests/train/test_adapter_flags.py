import pytest

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.adapter_flags import ACTIVATIONS, ADAPTER_FLAGS, adapter_config, label
from train.config import RunConfig
from train.tasks.table import TASKS

VARIANTS = [
    ({}, AdapterConfig(32), "32"),
    ({"adapter_size": ["8"]}, AdapterConfig(8), "8"),
    ({"adapter_size": 8}, AdapterConfig(8), "8"),
    (
        {"adapter_size": ["8", "4"], "adapter_layers": ["5", "0"]},
        AdapterConfig((8, 4), layers=(5, 0)),
        "8-4_layers-5-0",
    ),
    (
        {"adapter_reduction_factor": 16.0},
        AdapterConfig(reduction_factor=16),
        "reduction_factor-16",
    ),
    (
        {"adapter_form": "parallel", "adapter_scale": "4", "adapter_places": ["feed_forward"]},
        AdapterConfig(32, form="parallel", scale=4, places=("feed_forward",)),
        "32_places-feed_forward_form-parallel_scale-4",
    ),
    ({"adapter_scale": "2.5e-1"}, AdapterConfig(32, scale=0.25), "32_scale-0.25"),
    ({"adapter_scale": "per_channel"}, AdapterConfig(32, scale="per_channel"), "32_scale-per_chan"),
    (
        {"adapter_norm": "batch", "adapter_hidden_layers": 2, "adapter_gate": True},
        AdapterConfig(32, norm="batch", hidden_layers=2, gate=True),
        "32_norm-batch_hidden_layers-2_gate-True",
    ),
    (
        {"adapter_activation": "tanh", "adapter_init_stddev": 1e-3, "adapter_dropout": 0.1},
        AdapterConfig(32, "tanh", 1e-3, 0.1),
        "32_activation-tanh_init_stddev-0.001_dropout-0.1",
    ),
    ({"adapter_activation": "mine>cube"}, AdapterConfig(32, "mine>cube"), "32_activation-mine-cub"),
    ({"adapter_gate": False, "adapter_layers": ["3"]}, AdapterConfig(32, layers=(3,)), "32_layers"),
]


@pytest.mark.parametrize(("flags", "config", "name"), VARIANTS, ids=[v[2] for v in VARIANTS])
def test_flags_give_settings_and_a_name_for_folders(flags, config, name):
    assert adapter_config({**dict.fromkeys(ADAPTER_FLAGS), **flags}, 32) == config
    assert label(config).startswith(name)


def test_names_differ_between_settings():
    configs = {config for _, config, _ in VARIANTS}
    assert len({label(config) for config in configs}) == len(configs)


def test_the_recipes_size_holds_where_only_others_are_given():
    assert TASKS["mnli"].recipe.adapter_size == 256
    config = RunConfig.from_settings("mnli", data_dir="glue", adapter_form="parallel")
    assert config.method == Method(AdapterConfig(256, form="parallel"))
    config = RunConfig.from_settings("mnli", data_dir="glue", adapter_reduction_factor=2)
    assert config.method == Method(AdapterConfig(reduction_factor=2))
    nothing = dict.fromkeys(ADAPTER_FLAGS)
    assert RunConfig.from_settings("mnli", data_dir="glue", **nothing).method is None
    assert RunConfig.from_json_dict(config.to_json_dict()) == config


def test_the_names_of_activations_are_those_of_tf_keras():
    import tf_keras

    from keras_adapters.model_garden import BottleneckAdapter

    for name in ACTIVATIONS:
        BottleneckAdapter(1, name)
    others = {name for name in dir(tf_keras.activations) if not name.startswith("_")}
    for name in others - set(ACTIVATIONS):
        with pytest.raises(ValueError, match="activation"):
            BottleneckAdapter(1, name)
