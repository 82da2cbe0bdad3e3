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
        ("size", None),
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
    for name in ("size", "init_stddev", "dropout", "places", "layers", "activation"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            AdapterConfig(**{name: 10**5000})
