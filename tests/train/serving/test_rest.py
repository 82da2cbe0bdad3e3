"""Requests and responses in TensorFlow Serving's REST form."""

import json

import numpy as np
import pytest
from tensorboard.compat.proto import meta_graph_pb2

from train.serving import rest

STRING, INT, FLOAT = 7, 3, 1


@pytest.fixture(scope="module")
def signatures():
    def make(**inputs):
        signature = meta_graph_pb2.SignatureDef()
        for name, (dtype, *sizes) in inputs.items():
            signature.inputs[name].dtype = dtype
            for size in sizes:
                signature.inputs[name].tensor_shape.dim.add(size=size)
        return signature

    one, two = {"text": (STRING, -1)}, {"text_pair": (STRING, -1)}
    return {
        "serving_default": make(**one),
        "pair": make(**one, **two),
        "many": make(**one, **two, task=(STRING, -1)),
        "tokens": make(ids=(INT, -1, -1), mask=(INT, -1, -1)),
        "fixed": make(x=(FLOAT, -1, 2)),
        "tasks": make(),
    }


def parse(signatures, content, tasks=()):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return rest.parse(body, signatures, tasks)


@pytest.mark.parametrize(
    ("content", "inputs"),
    [
        ({"instances": ["a", "é世"]}, {"text": [b"a", "é世".encode()]}),
        ({"instances": [{"text": "a"}, {"text": ""}]}, {"text": [b"a", b""]}),
        ({"instances": [{"b64": "YQ=="}]}, {"text": [b"a"]}),
        ({"instances": [{"text": {"b64": "/w=="}}]}, {"text": [b"\xff"]}),
        ({"inputs": ["a"]}, {"text": [b"a"]}),
        ({"inputs": {"text": ["a"], "unknown": 1}}, {"text": [b"a"]}),
        ({"inputs": []}, {"text": []}),
        ({"signature_name": "", "inputs": ["a"]}, {"text": [b"a"]}),
        (
            {"signature_name": "pair", "instances": [{"text": "a", "text_pair": "b"}]},
            {"text": [b"a"], "text_pair": [b"b"]},
        ),
        (
            {"signature_name": "tokens", "inputs": {"ids": [[1, 2]], "mask": [[1, 1]]}},
            {"ids": [[1, 2]], "mask": [[1, 1]]},
        ),
        (
            {"signature_name": "tokens", "instances": [{"ids": [1], "mask": [-1]}] * 2},
            {"ids": [[1], [1]], "mask": [[-1], [-1]]},
        ),
        ({"signature_name": "fixed", "instances": [[1, 2.5]]}, {"x": [[1.0, 2.5]]}),
        ({"signature_name": "tasks", "inputs": {}}, {}),
        (b'\xef\xbb\xbf{"inputs": ["a"]}', {"text": [b"a"]}),
    ],
)
def test_rows_and_columns(content, inputs, signatures):
    request = parse(signatures, content)
    assert dict(request.inputs) == inputs
    assert request.by_row == (isinstance(content, dict) and "instances" in content)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not UTF-8"),
        (b"[" * 100_000, "the body is nested too deeply"),
        ([], "the body must be a JSON object"),
        ({}, "a request must have one of `instances` and `inputs`"),
        ({"instances": ["a"], "inputs": ["a"]}, "a request must have one of"),
        ({"instances": []}, "at least one row"),
        ({"instances": "a"}, "at least one row"),
        ({"instances": ["a", 1]}, "input 'text': a value must be a string, .* received 1"),
        ({"instances": [None]}, "a value must be a string"),
        ({"instances": [["a"]]}, 'received \\["a"\\]'),
        ({"instances": ["a", {"text": "b"}]}, "objects, or values, but not both"),
        ({"instances": [{"text": "a"}, "b"]}, "row 1: it must be an object with text"),
        ({"instances": [{"text": "a", "other": 1}]}, "row 0: it must be an object with text"),
        ({"instances": [{"b64": "!"}]}, "not base64"),
        ({"inputs": "a"}, "lists must be nested 1 deep"),
        ({"inputs": {"other": ["a"]}}, "`inputs` must be an object with text"),
        (b'{"inputs": ["\\ud83d"]}', "half of a surrogate pair"),
        ({"signature_name": "none", "inputs": []}, "`signature_name` must be one of fixed, many"),
        ({"signature_name": 1, "inputs": []}, "`signature_name` must be one of .* received 1"),
        ({"signature_name": ["a"], "inputs": []}, "`signature_name` must be one of"),
        ({"signature_name": "pair", "instances": ["a"]}, "an object with text and text_pair"),
        ({"signature_name": "pair", "inputs": ["a"]}, "an object with text and text_pair"),
        ({"signature_name": "tasks", "instances": ["a"]}, "a signature without inputs"),
        (
            {"signature_name": "tokens", "inputs": {"ids": [[1], [1, 2]], "mask": [[1]]}},
            "all lists of one depth must be as long",
        ),
        ({"signature_name": "tokens", "inputs": {"ids": [1], "mask": [1]}}, "nested 2 deep"),
        (
            {"signature_name": "tokens", "inputs": {"ids": [[2**31]], "mask": [[1]]}},
            "a whole number of 32 bits",
        ),
        (
            {"signature_name": "tokens", "inputs": {"ids": [[True]], "mask": [[1]]}},
            "a whole number of 32 bits",
        ),
        ({"signature_name": "fixed", "inputs": [[1]]}, "a list must have 2 values"),
        ({"signature_name": "fixed", "inputs": [["1", 2]]}, "a value must be a number"),
    ],
)
def test_what_is_malformed_is_told_in_a_sentence(content, text, signatures):
    with pytest.raises(rest.RequestError, match=text) as raised:
        parse(signatures, content)
    assert raised.value.status == 400
    assert "\n" not in str(raised.value)


def test_tasks_that_a_model_has_not(signatures):
    row = {"text": "", "text_pair": "", "task": "b"}
    content = {"signature_name": "many", "instances": [{**row, "task": "a"}, row]}
    assert parse(signatures, content, ("a", "b")).inputs["task"] == [b"a", b"b"]
    with pytest.raises(rest.RequestError, match="row 1: 'b' is not a task of this model"):
        parse(signatures, content, ("a",))


def test_rows_that_may_be_computed_with_others(signatures):
    def rows(content):
        return parse(signatures, content).rows(signatures)

    assert rows({"inputs": ["a", "b"]}) == [
        ("serving_default", (b"a",)),
        ("serving_default", (b"b",)),
    ]
    pairs = {"text": ["a"], "text_pair": ["b"]}
    assert rows({"signature_name": "pair", "inputs": pairs}) == [("pair", (b"a", b"b"))]
    tokens = {"ids": [[1]], "mask": [[1]]}
    assert rows({"signature_name": "tokens", "inputs": tokens}) is None
    assert rows({"signature_name": "tasks", "inputs": {}}) is None
    with pytest.raises(rest.RequestError, match="as many rows of each input"):
        rows({"signature_name": "pair", "inputs": {**pairs, "text": []}})


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/models/m", "status"),
        ("GET", "/V1/models/m/versions/3", "status"),
        ("GET", "/v1/models/m/metadata", "metadata"),
        ("GET", "/v1/models/m/versions/3/metadata", "metadata"),
        ("POST", "/v1/models/m:predict", "predict"),
        ("POST", "/v1/models/m/versions/3:predict", "predict"),
        ("GET", "/v1/models/m:predict", 405),
        ("POST", "/v1/models/m", 405),
        ("DELETE", "/v1/models/m/metadata", 405),
        ("POST", "/v1/models/m:classify", 400),
        ("POST", "/v1/models/other:predict", 404),
        ("POST", "/v1/models/m/versions/4:predict", 404),
        ("POST", "/v1/models/m:other", 404),
        ("GET", "/v1/models/m/labels/a", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/", 404),
        ("GET", "/v1/models/m/", 404),
    ],
)
def test_paths_and_methods(method, path, expected):
    if isinstance(expected, str):
        assert rest.route(method, path, "m", 3) == expected
        return
    with pytest.raises(rest.RequestError) as raised:
        rest.route(method, path, "m", 3)
    assert raised.value.status == expected
    assert (raised.value.allow is None) == (expected != 405)


def test_responses_are_json_as_the_standard_has_it():
    outputs = {
        "label": np.array([b"a", "é".encode()], object),
        "value": np.array([0.1, np.nan], np.float32),
        "of": np.array([[1, 2], [3, 4]], np.int32),
        "raw_bytes": np.array([b"a", b"b"], object),
    }
    rows = [
        {"label": "a", "value": 0.1, "of": [1, 2], "raw_bytes": {"b64": "YQ=="}},
        {"label": "é", "value": None, "of": [3, 4], "raw_bytes": {"b64": "Yg=="}},
    ]
    columns = {name: [row[name] for row in rows] for name in outputs}
    for response in (rest.from_arrays(outputs, True), rest.from_rows(rest.to_rows(outputs), True)):
        assert json.loads(rest.to_bytes(response)) == {"predictions": rows}
    for response in (
        rest.from_arrays(outputs, False),
        rest.from_rows(rest.to_rows(outputs), False),
    ):
        assert json.loads(rest.to_bytes(response)) == {"outputs": columns}
    alone = {"value": outputs["value"]}
    assert rest.from_arrays(alone, True) == {"predictions": [0.1, None]}
    assert rest.from_rows(rest.to_rows(alone), False) == {"outputs": [0.1, None]}
