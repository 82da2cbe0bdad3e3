import numpy as np
import pytest

from keras_adapters import METHODS, AdapterConfig, Method

ALL = [
    Method(),
    Method(AdapterConfig(8, layers=(0, 2))),
    Method(AdapterConfig(8), trains="nothing"),
    Method.named("top_layers", top_layers=3),
    *(Method.named(name) for name in METHODS if name != "top_layers"),
]


@pytest.mark.parametrize("method", ALL)
def test_json_round_trip_gives_an_equal_method(method):
    assert Method.from_json(method.to_json()) == method
    assert Method.of(method) is method


def test_names_and_settings_mean_a_row():
    assert Method.of("layer_norm") == Method(None, "layer_norms")
    assert Method.of(AdapterConfig(8)) == Method.named("adapters", AdapterConfig(8))
    assert {Method.named(name).name for name in METHODS if name != "top_layers"} == set(METHODS) - {
        "top_layers"
    }
    assert Method(None, "top_layers", np.int64(2)) == Method.named("top_layers", top_layers=2)


def test_summary_tells_what_trains_also_beside_the_rows():
    for name in set(METHODS) - {"top_layers"}:
        assert Method.named(name).summary == METHODS[name].summary
    frozen = Method(AdapterConfig(8), trains="nothing")
    assert frozen.name == "adapters"
    assert frozen.summary == "adapters and nothing of the base"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"insertion": 3}, "`insertion`"),
        ({"insertion": AdapterConfig}, "`insertion`"),
        ({"trains": "some"}, "`trains`"),
        ({"trains": []}, "`trains`"),
        ({"trains": "top_layers"}, "`top_layers`"),
        ({"trains": "all", "top_layers": 1}, "`top_layers`"),
        *(({"trains": "top_layers", "top_layers": n}, "`top_layers`") for n in (0, 1.0, True, "1")),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        Method(**settings)


@pytest.mark.parametrize(
    "method", ["prefix", "", None, 3, [], ["full"], {}, AdapterConfig, "top_layers"]
)
def test_what_means_no_method_is_refused(method):
    with pytest.raises(ValueError, match=r"`method`|`top_layers`"):
        Method.of(method)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '"full"', '{"method": "full"}', None, {}, b"{}"),
        *('{"trains": "all", "trains": "nothing"}', '{"trains": 3}', '{"trains": []}'),
        *('{"insertion": 3}', '{"insertion": {}}', '{"insertion": {"type": []}}'),
        *('{"insertion": {"type": "lora"}}', '{"insertion": {"type": "bottleneck", "rank": 3}}'),
        '{"insertion": {"type": "bottleneck", "size": "8"}}',
        '{"insertion": {"type": "bottleneck", "size": 8, "size": 9}}',
        '{"insertion": {"type": "bottleneck", "init_stddev": NaN}}',
        '{"trains": "top_layers", "top_layers": 1.5}',
        '{"trains": "top_layers", "top_layers": [1]}',
    ],
)
def test_from_json_refuses_other_objects(text):
    with pytest.raises(ValueError):  # noqa: PT011 - each has the message of its own argument.
        Method.from_json(text)


@pytest.mark.parametrize(
    ("method", "blocks", "message"),
    [
        (Method.named("top_layers", top_layers=4), 3, r"`top_layers` must be 1 to 3"),
        (Method(AdapterConfig(4, layers=(0, 3, 7))), 3, r"3 blocks. Received: \[3, 7\]"),
    ],
)
def test_whether_a_method_fits_is_told_without_an_encoder(method, blocks, message):
    with pytest.raises(ValueError, match=message):
        method.check_blocks(blocks)
    method.check_blocks(8)
    Method.of("full").check_blocks(1)


@pytest.mark.parametrize("make", [Method.of, Method.named, lambda x: Method(trains=x)])
def test_what_cannot_be_shown_or_compared_is_refused_by_name(make):
    for value in (10**5000, [10**5000], np.arange(3)):
        with pytest.raises(ValueError, match=r"`method`|`trains`"):
            make(value)
