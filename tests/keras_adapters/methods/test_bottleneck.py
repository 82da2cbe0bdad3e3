import dataclasses

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
        ("layers", ()),
        ("layers", (-1,)),
        ("layers", (1, 1)),
        ("layers", (0.5,)),
    ],
)
def test_impossible_values_are_refused_by_name(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`"):
        AdapterConfig(**{argument: value})


@pytest.mark.parametrize("text", ["[]", '{"width": 3}'])
def test_from_json_refuses_other_objects(text):
    with pytest.raises(ValueError, match="adapter configuration"):
        AdapterConfig.from_json(text)
