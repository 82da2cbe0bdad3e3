"""A model's outputs row by row, and how they are written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from train.serving.plain import plain
from train.serving.signatures import TASK, Form


def answers(
    outputs: Mapping[str, np.ndarray], form: Form, tasks: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Returns a model's outputs as values of JSON, row by row."""
    values = {name: plain(value) for name, value in outputs.items()}
    count = len(next(iter(values.values())))
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for index, row in enumerate(rows):
        if tasks is not None:
            row[TASK] = tasks[index]
        if "probabilities" in values:
            row.update(_class(*(values[name][index] for name in _CLASS)))
        for name in ("value", "answer", "start", "end", "score", "null_score"):
            if name in values:
                row[name] = values[name][index]
    return rows


_CLASS = ("label", "probabilities", "labels")


def _class(label: str, probabilities: list[float | None], labels: list[str]) -> dict[str, Any]:
    """Returns a class; of many tasks, those that have fewer have names of "" at the end."""
    own = {name: value for name, value in zip(labels, probabilities, strict=True) if name}
    if not own:
        return {"label": None, "probability": None, "probabilities": None}
    return {"label": label, "probability": own.get(label), "probabilities": own}


def json_lines(rows: Sequence[Mapping[str, Any]], *_: Any) -> bytes:
    """Spells rows as JSON, one a line."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    return "".join(lines).encode("utf-8", "backslashreplace")


def _parquet(rows: Sequence[Mapping[str, Any]], names: Sequence[str], kind: str) -> bytes:
    """Spells predictions in Parquet; the columns that were copied are strings there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = names[2:]
    classes = {
        "label": pa.string(),
        "probability": pa.float32(),
        "probabilities": pa.map_(pa.string(), pa.float32()),
    }
    spans = {"answer": pa.string(), "start": pa.int32(), "end": pa.int32()}
    outputs = {
        "classification": classes,
        "regression": {"value": pa.float32()},
        "spans": {**spans, "score": pa.float32(), "null_score": pa.float32()},
        "many": {TASK: pa.string(), **classes, "value": pa.float32()},
    }[kind]
    columns = {"file": pa.string(), "row": pa.int64(), **dict.fromkeys(ids, pa.string()), **outputs}
    lists = {
        name: [_cell(row.get(name), name in ids, name == "probabilities") for row in rows]
        for name in columns
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(lists, schema=pa.schema(list(columns.items()))), sink)
    return sink.getvalue()


def _cell(value: Any, is_id: bool, is_map: bool) -> Any:
    if is_map and value is not None:
        return list(value.items())
    if is_id and value is not None and not isinstance(value, str):
        return json.dumps(value)
    return value


WRITERS: Mapping[str, Callable[[Sequence[Mapping[str, Any]], Sequence[str], str], bytes]] = {
    "jsonl": json_lines,
    "parquet": _parquet,
}
