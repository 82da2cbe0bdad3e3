"""What a BERT is, from the configuration files of each format; needs no TensorFlow.

Each reader returns the same settings, in Hugging Face's words: the sizes `vocab_size`,
`hidden_size`, `num_hidden_layers`, `num_attention_heads`, `intermediate_size`,
`max_position_embeddings` and `type_vocab_size`, the rates `hidden_dropout_prob` and
`attention_probs_dropout_prob`, `embedding_size`, the word embeddings' width, and
`hidden_act`, one of `gelu` (by erf), `gelu_new` (by tanh), `relu` and `silu`.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import yaml

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_HUGGING_FACE_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
# Google's code, of both the release and Model Garden, means the tanh form by "gelu".
_GOOGLE_ACTIVATIONS = {"gelu": "gelu_new", "relu": "relu", "silu": "silu", "swish": "silu"}
# Model Garden's `BertEncoderConfig`: its words, in ours, and what it takes where a file is silent.
_MODEL_GARDEN = {
    "vocab_size": ("vocab_size", 30522),
    "hidden_size": ("hidden_size", 768),
    "num_layers": ("num_hidden_layers", 12),
    "num_attention_heads": ("num_attention_heads", 12),
    "intermediate_size": ("intermediate_size", 3072),
    "max_position_embeddings": ("max_position_embeddings", 512),
    "type_vocab_size": ("type_vocab_size", 2),
    "hidden_activation": ("hidden_act", "gelu"),
    "dropout_rate": ("hidden_dropout_prob", 0.1),
    "attention_dropout_rate": ("attention_probs_dropout_prob", 0.1),
    "embedding_size": ("embedding_size", None),
}


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # Not JSON, or not UTF-8.
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return settings


def read_hugging_face_config(folder: pathlib.Path) -> dict[str, Any]:
    """Reads the `config.json` of a Hugging Face BERT.

    Raises:
      FileNotFoundError: the folder has none.
      ValueError: it describes a model that `BertEncoderV2` cannot be.
    """
    path = folder / "config.json"
    # What a file does not say, or says to be null, has the default of transformers.
    defaults = {
        "model_type": "bert",
        "position_embedding_type": "absolute",
        "layer_norm_eps": 1e-12,
        "is_decoder": False,
    }
    said = {key: value for key, value in read_json(path).items() if value is not None}
    config = {**defaults, **said}
    for key, only in defaults.items():
        if config[key] != only:
            raise ValueError(
                f"{path}: `{key}` must be {only!r}, for `BertEncoderV2` has no other. "
                f"Received: {config[key]!r}"
            )
    return _settle(path, config, _HUGGING_FACE_ACTIVATIONS)


def read_bert_config(path: pathlib.Path) -> dict[str, Any]:
    """Reads a `bert_config.json` of Google's release or of Model Garden.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it describes a model that `BertEncoderV2` cannot be.
    """
    return _settle(path, read_json(path), _GOOGLE_ACTIVATIONS)


def read_model_garden_config(folder: pathlib.Path) -> dict[str, Any]:
    """Reads `bert_config.json` or the YAML file of an experiment in a Model Garden folder.

    The YAML file has `encoder: {type: bert, bert: {...}}` at any depth.

    Raises:
      FileNotFoundError: the folder has neither.
      ValueError: they describe no BERT, or more than one.
    """
    if (folder / "bert_config.json").is_file():
        return read_bert_config(folder / "bert_config.json")
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise FileNotFoundError(f"{folder} lacks bert_config.json, or the experiment's params.yaml")
    found = [(path, encoder) for path in files for encoder in _yaml_encoders(path)]
    if not found or any(encoder != found[0][1] for _, encoder in found):
        raise ValueError(
            f"{', '.join(map(str, files))} must hold one `encoder` with a `type`, as Model "
            f"Garden's configurations do. Found: {len(found)}"
        )
    path, encoder = found[0]
    if encoder["type"] != "bert":
        raise ValueError(f"{path}: the encoder's `type` must be bert. Received: {encoder['type']}")
    settings = encoder.get("bert") or {}
    if settings.get("norm_first"):
        raise ValueError(f"{path}: `norm_first` is true, but only BERT's own order is supported")
    config = {ours: settings.get(key, default) for key, (ours, default) in _MODEL_GARDEN.items()}
    return _settle(path, config, _GOOGLE_ACTIVATIONS)


def _yaml_encoders(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns every mapping called `encoder` that has a `type`."""
    try:
        todo = [yaml.safe_load(path.read_text(encoding="utf-8"))]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    found = []
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            encoder = node.get("encoder")
            if isinstance(encoder, dict) and "type" in encoder:
                found.append(encoder)
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)
    return found


def _settle(
    path: pathlib.Path, config: Mapping[str, Any], activations: Mapping[str, str]
) -> dict[str, Any]:
    """Checks the settings and puts them into one form."""
    lacking = [key for key in (*_SIZES, *_RATES, "hidden_act") if key not in config]
    if lacking:
        raise ValueError(f"{path} lacks {', '.join(lacking)}")
    for key in _SIZES:
        if type(config[key]) is not int or config[key] < 1:
            raise ValueError(f"{path}: `{key}` must be a whole number. Received: {config[key]!r}")
    for key in _RATES:
        if type(config[key]) not in (int, float) or not 0 <= config[key] < 1:
            raise ValueError(f"{path}: `{key}` must be in [0, 1). Received: {config[key]!r}")
    if config["hidden_size"] % config["num_attention_heads"]:
        raise ValueError(
            f"{path}: `hidden_size` must be a multiple of `num_attention_heads`. "
            f"Received: {config['hidden_size']} and {config['num_attention_heads']}"
        )
    if config["hidden_act"] not in activations:
        raise ValueError(
            f"{path}: `hidden_act` must be one of {', '.join(activations)}. "
            f"Received: {config['hidden_act']!r}"
        )
    return {
        **{key: config[key] for key in (*_SIZES, *_RATES)},
        "hidden_act": activations[config["hidden_act"]],
        "embedding_size": config.get("embedding_size") or config["hidden_size"],
    }
