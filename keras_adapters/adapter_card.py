"""The model card beside an adapter: `README.md`, for people and for the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from keras_adapters.methods.method import Method

CARD = "README.md"
_WRITTEN = "<!-- written by keras_adapters, sha256 {}; edited, it is kept as it is -->\n"
_PIPELINES = {
    "classification": "text-classification",
    "regression": "text-classification",
    "spans": "question-answering",
}
_USE = """\
```python
import keras_adapters as ka

encoder = ka.load_encoder("...")  # {base}
# This folder's path. With a model instead of None, its head is loaded too.
metadata = ka.load_adapter("...", None, encoder)
```
"""


def card(
    method: Method,
    metadata: Mapping[str, Any],
    fingerprint: str,
    tensors: int,
    parameters: int,
) -> str:
    """Returns the text of an adapter's card.

    Args:
      method: its method.
      metadata: its metadata. `base_model` is the Hub's name of the pretrained encoder; `task`,
        `form`, `labels`, `language` and `metrics`, by splits, are told too.
      fingerprint: its base's.
      tensors: how many it holds.
      parameters: how many numbers they are.
    """
    text = _front_matter(metadata) + _body(method, metadata, fingerprint, tensors, parameters)
    return sealed(text)


def sealed(text: str) -> str:
    """Returns a card's text with a last line by which `is_as_written` knows it again."""
    return text + _WRITTEN.format(hashlib.sha256(text.encode()).hexdigest())


def is_as_written(path: pathlib.Path) -> bool:
    """Says whether a file is a card that nobody has edited, or is not there.

    Raises:
      OSError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return True
    text, newline, _ = content.rstrip(b"\n").rpartition(b"\n")
    text += newline
    return content == text + _WRITTEN.format(hashlib.sha256(text).hexdigest()).encode()


def _front_matter(metadata: Mapping[str, Any]) -> str:
    # Imported here, for it brings what reading an adapter does not need.
    from huggingface_hub import EvalResult, ModelCardData

    form = metadata.get("form")
    kind = form.get("kind") if isinstance(form, Mapping) else None
    pipeline = _PIPELINES.get(kind) if isinstance(kind, str) else None
    task, base, language = (metadata.get(name) for name in ("task", "base_model", "language"))
    task = task if isinstance(task, str) else None
    results = [
        EvalResult(
            task_type=pipeline or "other",
            dataset_type=task,
            dataset_name=task,
            dataset_split=split,
            metric_type=name,
            metric_value=value,
        )
        for split, name, value in _metrics(metadata)
        if task
    ]
    data = ModelCardData(
        library_name="keras-adapters",
        base_model=base if isinstance(base, str) else None,
        base_model_relation="adapter" if isinstance(base, str) else None,
        pipeline_tag=pipeline,
        tags=["bert", "tensorflow", "keras", "adapter"],
        datasets=[task] if task else None,
        language=language if isinstance(language, str) else None,
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=f"{task} adapter" if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n"


def _body(
    method: Method,
    metadata: Mapping[str, Any],
    fingerprint: str,
    tensors: int,
    parameters: int,
) -> str:
    base = metadata.get("base_model") or metadata.get("encoder") or "see its fingerprint"
    base = _cell(f"{base}")
    rows = [
        ("base", base),
        ("fingerprint of the base", f"`{fingerprint}`"),
        ("method", f"`{method.name}`: {method.summary}"),
        ("inserted", f"`{method.insertion}`" if method.insertion else "nothing"),
        ("holds", f"{parameters:,} parameters in {tensors} tensors"),
        ("labels", ", ".join(f"`{label}`" for label in _texts(metadata.get("labels"))) or "-"),
    ]
    rows += [(f"{name} ({split})", f"{value:.4f}") for split, name, value in _metrics(metadata)]
    table = "\n".join(f"| {name} | {_cell(value)} |" for name, value in rows)
    title = f"Adapter: {_cell(str(metadata['task']))}" if metadata.get("task") else "Adapter"
    return (
        f"# {title}\n\nWhat was trained on top of a frozen pretrained encoder, written by "
        f"keras-adapters. It holds nothing of the base.\n\n| | |\n|---|---|\n{table}\n\n"
        + _USE.format(base=base)
        + "\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _metrics(metadata: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Returns (split, metric, value) for all that `metadata["metrics"]` tells by splits."""
    splits = metadata.get("metrics")
    return [
        (split, name, float(value))
        for split, values in (splits.items() if isinstance(splits, Mapping) else ())
        if isinstance(values, Mapping)
        for name, value in values.items()
        # Beyond 53 bits an integer is no measurement, and may be beyond all floats.
        if isinstance(value, float) or (type(value) is int and abs(value) < 2**53)
    ]
