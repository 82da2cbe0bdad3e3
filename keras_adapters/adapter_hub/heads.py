"""AdapterHub's heads, as the tensors of a head here and the metadata that tells of it.

A head of one layer is `head/logits/{kernel,bias}`: one `Dense` named `logits`, as `train.run`
makes it. One of two layers is `head/dense/{kernel,bias}` besides, a `Dense` before it, whose
activation the metadata tells under `head_activation`. What it reads is told under `pooling`:
`"pooler"`, the encoder's pooled output; `"first"`, its last block's output at the first
position; None, that output at each position.

Reference:
  `adapters/heads/base.py` of `adapters` 1.3.0; its `head_utils.py` for heads of transformers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_adapters.adapter_hub.names import Shape, renamed
from keras_adapters.adapter_hub.settings import read_activation, write_activation
from keras_adapters.methods.checks import shown, whole_number

CLASSIFICATION, SPANS = "classification", "question_answering"
# Classes of which a head's configuration is a whole one.
_FLEXIBLE = ("BertAdapterModel", "BertModelWithHeads")
# Of transformers' own: what the `adapters` package takes their heads for, and a layer's name.
_FIXED = {
    "BertForSequenceClassification": (CLASSIFICATION, True, "classifier"),
    "BertForQuestionAnswering": (SPANS, False, "qa_outputs"),
}


@dataclasses.dataclass(frozen=True)
class Head:
    """A head, in neutral words.

    Args:
      kind: `classification`, `regression` or `spans`.
      pooling: what it reads, as above.
      outputs: how many logits it gives.
      labels: the names of the classes, in the order of the logits; empty where there are none.
      activation: Keras's name of the function after a first layer; None without one.
    """

    kind: str
    pooling: str | None
    outputs: int
    labels: tuple[str, ...]
    activation: str | None

    def shapes(self, hidden_size: int) -> dict[str, Shape]:
        """Returns the shapes of its tensors by their names."""
        dense = {"head/dense/kernel": (hidden_size, hidden_size), "head/dense/bias": (hidden_size,)}
        logits = {
            "head/logits/kernel": (hidden_size, self.outputs),
            "head/logits/bias": (self.outputs,),
        }
        return {**(dense if self.activation else {}), **logits}

    def metadata(self) -> dict[str, Any]:
        """Returns what an adapter file's metadata says of it."""
        first = {"head_activation": self.activation} if self.activation else {}
        return {"pooling": self.pooling, "labels": list(self.labels), **first}


def read_head(
    settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray], hidden_size: int
) -> tuple[Head, dict[str, np.ndarray]]:
    """Makes a head of AdapterHub's.

    Args:
      settings: what is in `head_config.json`.
      tensors: those of its file.
      hidden_size: the encoder's.

    Returns:
      The head, and its tensors by our names.

    Raises:
      ValueError: it is malformed, or one that there is none of here; the text names the setting
        and its value.
    """
    kind = settings.get("model_class")
    if not isinstance(kind, str) or kind not in (*_FLEXIBLE, *_FIXED):
        raise ValueError(
            f"`model_class` must be one of {', '.join((*_FLEXIBLE, *_FIXED))}. "
            f"Received: model_class={shown(kind)}"
        )
    if kind in _FLEXIBLE:
        config, prefix = _object(settings, "config"), f"heads.{_text(settings, 'name')}."
        layers = ("1", "4")
    else:
        head_type, use_pooler, layer = _FIXED[kind]
        labels = settings.get("label2id")
        count = len(labels) if isinstance(labels, dict) else 2
        config = {
            "head_type": head_type,
            "use_pooler": use_pooler,
            "layers": 1,
            "num_labels": settings.get("num_labels", count),
            "label2id": labels,
        }
        prefix, layers = "", (layer,)
    head = _read(config)
    places = ("dense", "logits") if head.activation else ("logits",)
    names = {
        f"{prefix}{layer}.{theirs}": f"head/{place}/{ours}"
        for layer, place in zip(layers, places, strict=False)
        for theirs, ours in (("weight", "kernel"), ("bias", "bias"))
    }
    last = f"{prefix}{layers[len(places) - 1]}.bias"
    if config.get("bias", True) is False and last not in tensors:
        tensors = {**tensors, last: np.zeros(head.outputs, np.float32)}
    return head, renamed(tensors, names, head.shapes(hidden_size))


def write_head(
    head: Head, tensors: Mapping[str, np.ndarray], name: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the `config` of AdapterHub's head and its tensors, for a `BertAdapterModel`.

    Args:
      head: the head.
      tensors: by our names, those of `head.shapes`.
      name: the adapter's, which is the head's too.

    Raises:
      ValueError: AdapterHub has no such head.
    """
    config = {
        "head_type": SPANS if head.kind == "spans" else CLASSIFICATION,
        "num_labels": head.outputs,
        "layers": 2 if head.activation else 1,
        "activation_function": write_activation(head.activation or "tanh"),
        "label2id": {label: index for index, label in enumerate(head.labels)} or None,
    }
    if head.kind != "spans":  # Their head of spans takes no such settings.
        config |= {"use_pooler": head.pooling == "pooler", "bias": True}
    places = {"head/dense": "1", "head/logits": "4" if head.activation else "1"}
    return config, {
        f"heads.{name}.{places[layer]}.{'weight' if leaf == 'kernel' else 'bias'}": value.T
        for (layer, leaf), value in ((key.rsplit("/", 1), v) for key, v in tensors.items())
    }


def _read(config: Mapping[str, Any]) -> Head:
    """Makes a head of the settings of one, in which what is missing has their defaults."""
    kind = config.get("head_type")
    if kind not in (CLASSIFICATION, SPANS):
        raise ValueError(
            f"`head_type` must be {CLASSIFICATION!r} or {SPANS!r}, for there are no other heads "
            f"here. Received: head_type={shown(kind)}"
        )
    outputs = whole_number("num_labels", config.get("num_labels", 2), 1)
    layers = config.get("layers", 2 if kind == CLASSIFICATION else 1)
    if type(layers) is not int or layers not in (1, 2):
        raise ValueError(f"`layers` must be 1 or 2. Received: layers={shown(layers)}")
    if kind == SPANS and (layers, outputs) != (1, 2):
        raise ValueError(
            "a head of spans must have `layers` 1 and `num_labels` 2. "
            f"Received: layers={layers}, num_labels={outputs}"
        )
    switches = {"use_pooler": False, "bias": True}
    for field, usual in switches.items():
        switches[field] = config.get(field, usual)
        if type(switches[field]) is not bool:
            value = shown(switches[field])
            raise ValueError(f"`{field}` must be true or false. Received: {field}={value}")
    activation = None
    if layers == 2:
        activation = read_activation(
            "activation_function", config.get("activation_function", "tanh")
        )
    labels = _labels(config.get("label2id"), outputs)
    if kind == SPANS:
        return Head("spans", None, outputs, (), activation)
    pooling = "pooler" if switches["use_pooler"] else "first"
    if outputs == 1:  # They train it as a regression.
        return Head("regression", pooling, outputs, (), activation)
    return Head("classification", pooling, outputs, labels, activation)


def _labels(label2id: Any, outputs: int) -> tuple[str, ...]:
    if label2id is None:
        return ()
    counted = isinstance(label2id, dict) and len(label2id) == outputs
    # Theirs are whole numbers, or texts of them.
    given = label2id.items() if counted else ()
    by_index = {str(index): label for label, index in given if type(index) in (int, str)}
    names = [str(index) for index in range(len(by_index))]
    if not counted or len(names) != outputs or set(by_index) != set(names):
        raise ValueError(
            f"`label2id` must give {outputs} labels the numbers from 0 on. "
            f"Received: label2id={shown(label2id)}"
        )
    return tuple(by_index[name] for name in names)


def _object(settings: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = settings.get(field)
    if not isinstance(value, dict):
        raise ValueError(f"`{field}` must be an object. Received: {field}={shown(value)}")
    return value


def _text(settings: Mapping[str, Any], field: str) -> str:
    value = settings.get(field)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{field}` must be a text. Received: {field}={shown(value)}")
    return value
