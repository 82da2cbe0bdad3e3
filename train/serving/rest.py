"""TensorFlow Serving's REST form: requests into inputs, outputs into responses.

After tensorflow_serving/g3doc/api_rest.md and tensorflow_serving/util/json_tensor.cc. Where
an output is not finite, its server writes `NaN`, which is not JSON; here it is `null`.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from train.serving.plain import plain
from train.serving.signatures import DEFAULT, TASK

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+))?(:(?P<verb>\w+)|/(?P<about>metadata))?",
    re.IGNORECASE,
)
_BASE64 = {"b64"}
# By the names of types in tensorflow/core/framework/types.proto: what a leaf must be.
_STRING, _BOOL = 7, 10
_INTEGERS = {3: 32, 9: 64}
_FLOATS = (1, 2)


class RequestError(ValueError):
    """A request that is not answered.

    Attributes:
      status: of HTTP.
      allow: the one method that the path takes, where that is what is wrong.
    """

    def __init__(self, text: str, status: int = 400, allow: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.allow = allow


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be computed.

    Attributes:
      signature: its name.
      inputs: nested lists by the names of its inputs, all that it has, in sorted order.
      by_row: whether the answer is in rows, or in columns.
    """

    signature: str
    inputs: Mapping[str, Any]
    by_row: bool

    def rows(self, signatures: Mapping[str, Any]) -> list[tuple[str, tuple]] | None:
        """Returns the signature's name with each row, if rows may be computed with others'.

        So they may if each input is one text a row: then all batches have one shape.

        Raises:
          RequestError: there are not as many rows of each input.
        """
        infos = signatures[self.signature].inputs
        if not self.inputs or any(
            info.dtype != _STRING or len(info.tensor_shape.dim) != 1 for info in infos.values()
        ):
            return None
        if len({len(column) for column in self.inputs.values()}) > 1:
            raise RequestError("there must be as many rows of each input")
        return [(self.signature, row) for row in zip(*self.inputs.values(), strict=True)]


def route(method: str, path: str, name: str, version: int) -> str:
    """Returns what a path asks for: `status`, `metadata` or `predict`.

    Args:
      method: of HTTP.
      path: of the URL.
      name: the model's.
      version: the model's.

    Raises:
      RequestError: there is nothing at the path, or not for that method.
    """
    match = _PATH.fullmatch(path)
    if not match:
        raise RequestError(f"there is nothing at {path[:200]}", 404)
    verb = (match["verb"] or "").lower()
    if verb not in ("", "predict", "classify", "regress"):
        raise RequestError(f"a model has no method {verb[:200]!r}", 404)
    if match["name"] != name or (match["version"] and int(match["version"]) != version):
        asked = match["version"]
        which = f"Specific({match['name']}, {asked})" if asked else f"Latest({match['name']})"
        raise RequestError(f"Servable not found for request: {which}", 404)
    allowed = "POST" if verb else "GET"
    if method != allowed:
        raise RequestError(f"{path[:200]} takes {allowed}, not {method}", 405, allowed)
    if verb in ("classify", "regress"):
        raise RequestError(f"the signatures of this model are for :predict, not for :{verb}")
    return verb or ("metadata" if match["about"] else "status")


def parse(body: bytes, signatures: Mapping[str, Any], tasks: Sequence[str] = ()) -> Request:
    """Returns what the body of a request for `predict` asks to be computed.

    Args:
      body: JSON.
      signatures: the model's `SignatureDef` messages by their names.
      tasks: of a model of many tasks, their names.

    Raises:
      RequestError: it asks for nothing that the model has, in one sentence.
    """
    content = _parse_json(body)
    signature = content.get("signature_name", DEFAULT) or DEFAULT
    if not isinstance(signature, str) or signature not in signatures:
        known = ", ".join(sorted(name for name in signatures if not name.startswith("__")))
        raise RequestError(
            f"`signature_name` must be one of {known}, received {json.dumps(signature)[:200]}"
        )
    infos = signatures[signature].inputs
    if ("instances" in content) == ("inputs" in content):
        raise RequestError("a request must have one of `instances` and `inputs`")
    by_row = "instances" in content
    if by_row:
        columns = _columns_of_rows(content["instances"], sorted(infos))
    else:
        columns = _columns_of_inputs(content["inputs"], sorted(infos))
    inputs = {name: _tensor(columns[name], infos[name], name) for name in sorted(infos)}
    if tasks and TASK in inputs:
        for row, task in enumerate(inputs[TASK]):
            text = task.decode("utf-8", "replace") if isinstance(task, bytes) else task
            if text not in tasks:
                raise RequestError(f"row {row}: {text[:200]!r} is not a task of this model")
    return Request(signature, inputs, by_row)


def status(version: int) -> dict[str, Any]:
    """Returns what is said of a model that answers."""
    state = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [{"version": str(version), "state": "AVAILABLE", "status": state}]
    }


def metadata(name: str, version: int, signatures: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a model takes and gives; `signatures` as JSON has them."""
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": dict(signatures)}},
    }


def from_arrays(outputs: Mapping[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """Returns the response to a request that was computed at once."""
    columns = {name: _spell(name, plain(value)) for name, value in outputs.items()}
    if not by_row:
        return {"outputs": _unwrap(columns)}
    rows = zip(*columns.values(), strict=True)
    return from_rows([dict(zip(columns, row, strict=True)) for row in rows], True)


def to_rows(outputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Returns outputs row by row, as JSON has them."""
    columns = {name: _spell(name, plain(value)) for name, value in outputs.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def from_rows(rows: Sequence[Mapping[str, Any]], by_row: bool) -> dict[str, Any]:
    """Returns the response of rows that `to_rows` has made; there is one at least."""
    if by_row:
        return {"predictions": [_unwrap(row) for row in rows]}
    return {"outputs": _unwrap({name: [row[name] for row in rows] for name in rows[0]})}


def to_bytes(content: Mapping[str, Any]) -> bytes:
    """Spells a response."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _unwrap(named: Mapping[str, Any]) -> Any:
    """Returns the value alone where there is but one."""
    return next(iter(named.values())) if len(named) == 1 else named


def _spell(name: str, value: Any) -> Any:
    """Spells outputs whose names say that they are bytes."""
    if not name.endswith("_bytes"):
        return value
    if isinstance(value, list):
        return [_spell(name, each) for each in value]
    return {"b64": base64.b64encode(value.encode("utf-8")).decode()}


def _parse_json(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RequestError("the body is not UTF-8") from error
    except RecursionError as error:
        raise RequestError("the body is nested too deeply") from error
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RequestError("the body must be a JSON object")
    return content


def _columns_of_rows(rows: Any, names: list[str]) -> dict[str, list]:
    if not isinstance(rows, list) or not rows:
        raise RequestError("`instances` must be a list with at least one row")
    if not names:
        raise RequestError('a signature without inputs takes no `instances`, but `"inputs": {}`')
    if not _is_object(rows[0]):
        if len(names) > 1:
            raise RequestError(f"each row must be an object with {' and '.join(names)}")
        if any(_is_object(row) for row in rows):
            raise RequestError("`instances` must be objects, or values, but not both")
        return {names[0]: rows}
    for number, row in enumerate(rows):
        if not _is_object(row) or set(row) != set(names):
            raise RequestError(f"row {number}: it must be an object with {' and '.join(names)}")
    return {name: [row[name] for row in rows] for name in names}


def _columns_of_inputs(inputs: Any, names: list[str]) -> dict[str, Any]:
    if not _is_object(inputs):
        if len(names) != 1:
            raise RequestError(f"`inputs` must be an object with {' and '.join(names)}")
        return {names[0]: inputs}
    for name in names:
        if name not in inputs:
            raise RequestError(f"`inputs` must be an object with {' and '.join(names)}")
    return inputs


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() != _BASE64


def _tensor(value: Any, info: Any, name: str) -> Any:
    """Returns nested lists, all as long as the first of their depth, of leaves of one type."""
    sizes = [dimension.size for dimension in info.tensor_shape.dim]
    shape, first = [], value
    while isinstance(first, list) and len(shape) < len(sizes):
        shape.append(len(first))
        first = first[0] if first else None
    if len(shape) < len(sizes) and 0 not in shape:
        raise RequestError(f"input {name!r}: lists must be nested {len(sizes)} deep")
    for size, found in zip(sizes, shape, strict=False):
        if size not in (-1, found):
            raise RequestError(f"input {name!r}: a list must have {size} values")
    return _fill(value, shape, info.dtype, name)


def _fill(value: Any, shape: Sequence[int], dtype: int, name: str) -> Any:
    if not shape:
        return _leaf(value, dtype, name)
    if not isinstance(value, list) or len(value) != shape[0]:
        raise RequestError(f"input {name!r}: all lists of one depth must be as long")
    return [_fill(each, shape[1:], dtype, name) for each in value]


def _leaf(value: Any, dtype: int, name: str) -> Any:
    if dtype == _STRING:
        if isinstance(value, str):
            try:
                return value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise RequestError(f"input {name!r}: half of a surrogate pair") from error
        if isinstance(value, dict) and value.keys() == _BASE64 and isinstance(value["b64"], str):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except (binascii.Error, ValueError) as error:
                raise RequestError(f"input {name!r}: not base64") from error
        wanted = 'a string, or {"b64": ...}'
    elif dtype in _INTEGERS:
        limit = 2 ** (_INTEGERS[dtype] - 1)
        if isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit:
            return value
        wanted = f"a whole number of {_INTEGERS[dtype]} bits"
    elif dtype in _FLOATS:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        wanted = "a number"
    elif dtype == _BOOL and isinstance(value, bool):
        return value
    else:
        wanted = "true or false" if dtype == _BOOL else "of a type that JSON has"
    received = json.dumps(value, ensure_ascii=True)[:100]
    raise RequestError(f"input {name!r}: a value must be {wanted}, received {received}")
