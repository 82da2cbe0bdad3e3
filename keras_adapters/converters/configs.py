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

_LARGEST = 2**31 - 1  # TensorFlow's indices and the tokens' ids are 32 bits wide.
_SHOWN_CHARACTERS = 80

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
      IsADirectoryError: a folder has its name.
      ValueError: it holds no JSON object.
    """
    text = _read_text(path, "JSON")
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return settings


def read_flag(path: pathlib.Path, key: str) -> bool | None:
    """Returns one true or false of a JSON object in a file; None if it says nothing.

    Raises:
      FileNotFoundError, IsADirectoryError: as `read_json`.
      ValueError: it holds no JSON object, or something else under the key.
    """
    value = read_json(path).get(key)
    if value is not None and type(value) is not bool:
        raise ValueError(f"{path}: `{key}` must be true or false. Received: {shown(value)}")
    return value


def shown(value: Any) -> str:
    """Returns the beginning of a value as Python writes it, for an error."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # A number of thousands of digits; a deep list.
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def read_hugging_face_config(
    folder: pathlib.Path, *, any_norm_epsilon: bool = False
) -> dict[str, Any]:
    """Reads the `config.json` of a Hugging Face BERT.

    Args:
      folder: where it is.
      any_norm_epsilon: whether LayerNorms may have another epsilon than 1e-12, the only one of
        `BertEncoderV2`; if so, the settings have it as `layer_norm_eps`.

    Raises:
      FileNotFoundError: the folder has none.
      ValueError: it describes another model than BERT, or one that `BertEncoderV2` cannot be.
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
    epsilon = config["layer_norm_eps"]
    if any_norm_epsilon:
        if type(epsilon) is not float or not 0 < epsilon < 1:
            raise ValueError(
                f"{path}: `layer_norm_eps` must be in (0, 1). Received: {shown(epsilon)}"
            )
        del defaults["layer_norm_eps"]
    for key, only in defaults.items():
        if config[key] != only:
            raise ValueError(
                f"{path}: `{key}` must be {only!r}, the only one that can be built. "
                f"Received: {shown(config[key])}"
            )
    settings = _without_projection(path, settle(path, config, _HUGGING_FACE_ACTIVATIONS))
    return {**settings, "layer_norm_eps": epsilon} if any_norm_epsilon else settings


def read_bert_config(path: pathlib.Path) -> dict[str, Any]:
    """Reads the `bert_config.json` of Google's release.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it describes a model that `BertEncoderV2` cannot be.
    """
    return _without_projection(path, settle(path, read_json(path), _GOOGLE_ACTIVATIONS))


def read_model_garden_config(folder: pathlib.Path) -> dict[str, Any]:
    """Reads `bert_config.json` or the YAML file of an experiment in a Model Garden folder.

    The YAML file has `encoder: {type: bert, bert: {...}}` at any depth.

    Raises:
      FileNotFoundError: the folder has neither.
      ValueError: they describe no BERT, or more than one.
    """
    path = folder / "bert_config.json"
    if path.exists():
        return settle(path, read_json(path), _GOOGLE_ACTIVATIONS)
    files = [p for p in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]) if p.is_file()]
    if not files:
        raise FileNotFoundError(f"{folder} lacks bert_config.json, or the experiment's params.yaml")
    found = [(path, encoder) for path in files for encoder in _yaml_encoders(path)]
    if not found or any(encoder != found[0][1] for _, encoder in found):
        raise ValueError(
            f"{', '.join(map(str, files))} must hold one `encoder` with a `type`, as Model "
            f"Garden's configurations do. Found: {len(found)}"
        )
    path, (kind, settings) = found[0]
    if kind != "bert":
        raise ValueError(f"{path}: the encoder's `type` must be bert. Received: {shown(kind)}")
    if settings["norm_first"] not in (None, False):
        raise ValueError(
            f"{path}: `norm_first` must be false, for only BERT's own order is supported. "
            f"Received: {settings['norm_first']!r}"
        )
    config = {ours: settings[key] for key, (ours, _) in _MODEL_GARDEN.items()}
    return settle(path, config, _GOOGLE_ACTIVATIONS)


def _yaml_encoders(path: pathlib.Path) -> list[tuple[str, dict[str, Any]]]:
    """Returns the type and the settings of every mapping called `encoder` that has a `type`."""
    text = _read_text(path, "YAML")
    try:
        todo = [yaml.safe_load(text)]
    except Exception as error:  # PyYAML's constructors raise whatever a value makes Python raise.
        raise ValueError(f"{path} is not YAML: {error}") from error
    found, seen = [], set()
    while todo:
        node = todo.pop()
        # An alias is the very object that it stands for, which may even hold itself.
        if not isinstance(node, (dict, list)) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, list):
            todo.extend(node)
            continue
        encoder = node.get("encoder")
        if isinstance(encoder, dict) and "type" in encoder:
            found.append(_model_garden_settings(path, encoder))
        todo.extend(node.values())
    return found


def _model_garden_settings(
    path: pathlib.Path, encoder: Mapping[Any, Any]
) -> tuple[str, dict[str, Any]]:
    kind, settings = encoder["type"], encoder.get("bert")
    settings = {} if settings is None else settings
    if not isinstance(kind, str) or not isinstance(settings, dict):
        raise ValueError(
            f"{path}: an `encoder` must have a `type` that is a name and a `bert` that maps names "
            f"to values. Received: type={shown(kind)}, bert={shown(settings)}"
        )
    known = {key: settings.get(key, default) for key, (_, default) in _MODEL_GARDEN.items()}
    known["norm_first"] = settings.get("norm_first")
    for key, value in known.items():
        if not isinstance(value, (int, float, str, type(None))):
            raise ValueError(f"{path}: `{key}` must be one value. Received: {shown(value)}")
    return kind, known


def _read_text(path: pathlib.Path, kind: str) -> str:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but must be a {kind} file")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not {kind}: {error}") from error


def _without_projection(path: pathlib.Path, settings: dict[str, Any]) -> dict[str, Any]:
    if settings["embedding_size"] != settings["hidden_size"]:
        raise ValueError(
            f"{path}: `embedding_size` must be `hidden_size`, for this format has no projection "
            f"between the two. Received: {settings['embedding_size']} and "
            f"{settings['hidden_size']}"
        )
    return settings


def settle(
    path: pathlib.Path, config: Mapping[str, Any], activations: Mapping[str, str]
) -> dict[str, Any]:
    """Checks settings and puts them into the one form that this module speaks of.

    Args:
      path: the file that they are from, for the error.
      config: settings in Hugging Face's words; others are left behind.
      activations: what its format's names of activations mean in ours.

    Raises:
      ValueError: settings are lacking, or one is of another type or out of its range.
    """
    lacking = [key for key in (*_SIZES, *_RATES, "hidden_act") if key not in config]
    if lacking:
        raise ValueError(f"{path} lacks {', '.join(lacking)}")
    sizes = {key: config[key] for key in _SIZES}
    sizes["embedding_size"] = config.get("embedding_size")
    if sizes["embedding_size"] is None:
        sizes["embedding_size"] = config["hidden_size"]
    for key, size in sizes.items():
        if type(size) is not int or not 1 <= size <= _LARGEST:
            raise ValueError(
                f"{path}: `{key}` must be a whole number, 1 to {_LARGEST}. Received: {shown(size)}"
            )
    for key in _RATES:
        if type(config[key]) not in (int, float) or not 0 <= config[key] < 1:
            raise ValueError(f"{path}: `{key}` must be in [0, 1). Received: {shown(config[key])}")
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise ValueError(
            f"{path}: `hidden_size` must be a multiple of `num_attention_heads`. Received: "
            f"{sizes['hidden_size']} and {sizes['num_attention_heads']}"
        )
    activation = config["hidden_act"]
    if not isinstance(activation, str) or activation not in activations:
        raise ValueError(
            f"{path}: `hidden_act` must be one of {', '.join(activations)}. "
            f"Received: {shown(activation)}"
        )
    return {
        **sizes,
        **{key: float(config[key]) for key in _RATES},
        "hidden_act": activations[activation],
    }
