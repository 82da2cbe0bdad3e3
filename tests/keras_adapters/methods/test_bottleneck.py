import dataclasses

import numpy as np
import pytest

from keras_adapters import AdapterConfig


def test_json_round_trip_gives_an_equal_config():
    config = AdapterConfig(
        size=8, activation="tanh", init_stddev=1e-3, places=["attention"], layers=[0, 2]
    )
    assert AdapterConfig.from_json(config.to_json()) == config
    assert config.places == ("attention",)
    assert config.layers == (0, 2)


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        AdapterConfig().size = 3


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("size", 0),
        ("size", -1),
        ("size", 1.5),
        ("size", True),
        ("size", "64"),
        ("size", 2**31),
        ("places", [np.arange(2)]),
        ("size", np.float32(4)),
        ("size", np.array(4)),
        ("size", np.bool_(True)),
        ("init_stddev", None),
        ("init_stddev", "0.1"),
        ("init_stddev", True),
        ("init_stddev", float("inf")),
        ("init_stddev", 10**400),
        ("init_stddev", 1j),
        ("init_stddev", np.array([0.1])),
        ("dropout", "a"),
        ("dropout", False),
        ("dropout", float("nan")),
        ("dropout", np.nan),
        ("dropout", []),
        ("activation", "get"),
        ("activation", "serialize"),
        ("activation", "deserialize"),
        ("activation", "glu"),
        ("activation", "no activation"),
        ("activation", "tanh "),
        ("activation", ["gelu"]),
        ("activation", len),
        ("init_stddev", 0.0),
        ("init_stddev", -1e-2),
        ("init_stddev", float("nan")),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("activation", ""),
        ("activation", None),
        ("places", ()),
        ("places", ("pooler",)),
        ("places", "attention"),
        ("places", ("attention", "attention")),
        ("places", 5),
        ("places", None),
        ("places", {"attention"}),
        ("places", {"attention": 1}),
        ("places", ([],)),
        ("places", (0,)),
        ("layers", 3),
        ("layers", "01"),
        ("layers", b"01"),
        ("layers", {0, 1}),
        ("layers", iter([0])),
        ("layers", ([1],)),
        ("layers", (True,)),
        ("layers", ("0",)),
        ("layers", ()),
        ("layers", (-1,)),
        ("layers", (1, 1)),
        ("layers", (0.5,)),
        ("size", ()),
        ("size", (8, 0)),
        ("size", (8, None)),
        ("size", {8}),
        ("reduction_factor", 0),
        ("reduction_factor", -2.0),
        ("reduction_factor", "16"),
        ("reduction_factor", float("nan")),
        ("reduction_factor", (16, 8)),
        ("form", "serial"),
        ("form", None),
        ("form", ["parallel"]),
        ("norm", "instance"),
        ("norm", ""),
        ("norm", True),
        ("hidden_layers", 0),
        ("hidden_layers", 1.0),
        ("hidden_layers", None),
        ("scale", 0),
        ("scale", -1.0),
        ("scale", float("inf")),
        ("scale", "channel"),
        ("scale", None),
        ("scale", True),
        ("gate", None),
        ("gate", 1),
        ("gate", "true"),
    ],
)
def test_impossible_values_are_refused_by_name(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`"):
        AdapterConfig(**{argument: value})


@pytest.mark.parametrize(
    "text",
    [
        *("[]", '{"width": 3}', "", "{", "null", "3", '{"size": 3, "size": 4}', "[" * 100_000),
        *(None, {}, b"{}"),
    ],
)
def test_from_json_refuses_other_objects(text):
    with pytest.raises(ValueError, match="adapter configuration"):
        AdapterConfig.from_json(text)


def test_numbers_of_numpy_become_pythons():
    config = AdapterConfig(
        np.int64(8),
        init_stddev=np.float32(0.5),
        dropout=np.float16(0.25),
        layers=[np.int32(1), np.int64(0)],
    )
    assert config == AdapterConfig(8, init_stddev=0.5, dropout=0.25, layers=(1, 0))
    assert AdapterConfig.from_json(config.to_json()) == config
    assert AdapterConfig(layers=range(2)).layers == (0, 1)
    assert {type(n) for n in (config.size, *config.layers)} == {int}
    assert {type(n) for n in (config.init_stddev, config.dropout)} == {float}


def test_numbers_of_thousands_of_digits_are_refused_by_name():
    for name in (field.name for field in dataclasses.fields(AdapterConfig)):
        with pytest.raises(ValueError, match=f"`{name}`"):
            AdapterConfig(**{name: 10**5000})


def test_the_width_is_the_size_or_adapterhubs_division_and_never_nothing():
    assert AdapterConfig().size == 64
    assert AdapterConfig(8).width(768) == 8
    # int(d // factor), also where the factor is no divisor, is below 1 or beyond d.
    widths = {16: 48, 100: 7, 0.5: 1536, 7.68: 100, 2: 384, 768: 1, 1000: 1}
    for factor, width in widths.items():
        config = AdapterConfig(reduction_factor=factor)
        assert config.size is None
        assert config.width(768) == width, factor
        assert AdapterConfig.from_json(config.to_json()) == config


def test_each_chosen_layer_may_have_a_size_of_its_own():
    config = AdapterConfig(size=[8, 16], layers=[5, 2], form="parallel", scale=4)
    assert config.size == (8, 16)
    assert AdapterConfig.from_json(config.to_json()) == config
    assert config.of_layer(2) == AdapterConfig(16, layers=(2,), form="parallel", scale=4.0)
    assert config.of_layer(5).width(768) == 8
    same = AdapterConfig(8, layers=(1, 2))
    assert same.of_layer(2) is same
    everywhere = AdapterConfig(size=(1, 2, 3))
    everywhere.check_blocks(3)
    assert [everywhere.of_layer(index).size for index in range(3)] == [1, 2, 3]


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match=r"`size` and `reduction_factor`.*size=64.*factor=16"):
        AdapterConfig(64, reduction_factor=16)
    with pytest.raises(ValueError, match=r"`size` and `reduction_factor`"):
        AdapterConfig((64, 32), reduction_factor=16)
    with pytest.raises(ValueError, match=r"each of the 3 layers.*Received: 2 sizes"):
        AdapterConfig((8, 4), layers=(0, 1, 2))
    with pytest.raises(ValueError, match=r"each of the 12 layers.*Received: 2 sizes"):
        AdapterConfig((8, 4)).check_blocks(12)


def test_settings_of_before_the_variants_are_read_as_what_they_were():
    text = (
        '{"size": 8, "activation": "gelu", "init_stddev": 0.01, "dropout": 0.0, '
        '"places": ["attention"], "layers": null}'
    )
    assert AdapterConfig.from_json(text) == AdapterConfig(8, places=("attention",))


def test_variants_survive_json():
    config = AdapterConfig(
        reduction_factor=2,
        form="parallel_multiplicative",
        norm="batch",
        hidden_layers=3,
        scale="per_channel",
        gate=True,
    )
    assert AdapterConfig.from_json(config.to_json()) == config
    assert AdapterConfig(scale=np.float32(4)).scale == 4.0
    assert type(AdapterConfig(scale=4).scale) is float


def test_is_shown_as_what_makes_it_again():
    assert repr(AdapterConfig()) == "AdapterConfig(size=64)"
    config = AdapterConfig(reduction_factor=2, form="parallel", scale=4, layers=[1])
    text = "AdapterConfig(layers=(1,), reduction_factor=2.0, form='parallel', scale=4.0)"
    assert repr(config) == text
    assert eval(text) == config
