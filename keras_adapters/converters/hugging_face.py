"""A Hugging Face BERT folder into a tf-models-official `BertEncoderV2`.

Format: `config.json` and `model.safetensors` (or shards and their index) as written by
`transformers.BertModel.save_pretrained`.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import numpy as np
import safetensors
from official.modeling import activations
from official.nlp.modeling import networks

from keras_adapters.adapter_file import assign_all
from keras_adapters.model_garden.variables import encoder_variables

# transformers' names: "gelu" is the erf form, the others are tanh approximations.
_ACTIVATIONS: dict[str, Any] = {
    "gelu": "gelu",
    "gelu_new": activations.gelu,
    "gelu_fast": activations.gelu,
    "gelu_pytorch_tanh": activations.gelu,
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_REQUIRED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)
# Left behind: position_ids is a constant, the rest are heads of other tasks.
_IGNORED = ("embeddings.position_ids", "cls.", "classifier.", "qa_outputs.")
_EMBEDDINGS = {"word": "word", "position": "position", "type": "token_type"}
_DENSES = {
    "attention/query": "attention.self.query",
    "attention/key": "attention.self.key",
    "attention/value": "attention.self.value",
    "attention/output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
_NORMS = {"attention/layer_norm": "attention.output", "output/layer_norm": "output"}


def load_hugging_face(
    folder: str | os.PathLike, *, output_range: int | None = None
) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of a Hugging Face BERT folder.

    Args:
      folder: holds `config.json` and the weights as safetensors, in float32, float16 or
        bfloat16, with or without the `bert.` prefix and the `gamma`/`beta` spelling.
      output_range: number of leading positions that the last block computes; 1 is enough
        and cheaper for classification, `None` computes all.

    Returns:
      The built encoder with float32 variables.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: the folder holds another architecture, uses what `BertEncoderV2` does
        not have, or tensors are missing, extra or of another shape (all in one error).
    """
    folder = pathlib.Path(folder)
    config = read_config(folder)
    encoder = networks.BertEncoderV2(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        num_attention_heads=config["num_attention_heads"],
        max_sequence_length=config["max_position_embeddings"],
        type_vocab_size=config["type_vocab_size"],
        inner_dim=config["intermediate_size"],
        inner_activation=_ACTIVATIONS[config["hidden_act"]],
        output_dropout=config["hidden_dropout_prob"],
        attention_dropout=config["attention_probs_dropout_prob"],
        output_range=output_range,
        name="encoder",
    )
    encoder(encoder.inputs)
    variables = encoder_variables(encoder)
    tensors = _read_tensors(folder)
    values = {}
    for name, variable in variables.items():
        source = _hugging_face_name(name)
        if source in tensors:
            values[name] = _to_keras(name, tensors.pop(source), variable.shape.as_list())
    assign_all(variables, {**values, **tensors}, str(folder))
    return encoder


def read_config(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads `config.json` and checks that `BertEncoderV2` can hold such a model.

    Raises:
      FileNotFoundError: the folder has no `config.json`.
      ValueError: it describes a model that `BertEncoderV2` cannot be.
    """
    path = pathlib.Path(folder, "config.json")
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: a Hugging Face BERT folder holds config.json, "
            "model.safetensors and vocab.txt"
        )
    config = json.loads(path.read_text(encoding="utf-8"))
    config = {"position_embedding_type": "absolute", "layer_norm_eps": 1e-12, **config}
    lacking = [key for key in _REQUIRED if key not in config]
    if lacking:
        raise ValueError(f"{path} lacks {', '.join(lacking)}")
    rules = {
        "model_type": ["bert"],
        "position_embedding_type": ["absolute"],
        "layer_norm_eps": [1e-12],
        "hidden_act": list(_ACTIVATIONS),
    }
    for key, allowed in rules.items():
        if config.get(key) not in allowed:
            raise ValueError(
                f"{path}: `{key}` must be one of {allowed} for tf-models-official's "
                f"BertEncoderV2. Received: {config.get(key)!r}"
            )
    if config.get("is_decoder"):
        raise ValueError(f"{path}: `is_decoder` is true, but only BERT encoders are supported")
    return config


def _hugging_face_name(name: str) -> str:
    """Returns the Hugging Face name of one of `encoder_variables`' names."""
    if name.startswith("embeddings/"):
        part = name.split("/")[1]
        if part in _EMBEDDINGS:
            return f"embeddings.{_EMBEDDINGS[part]}_embeddings.weight"
        return f"embeddings.LayerNorm.{_suffix(name)}"
    if name.startswith("pooler/"):
        return f"pooler.dense.{_suffix(name)}"
    layer, middle = name.rsplit("/", 1)[0].split("/", 1)
    prefix = "encoder.layer." + layer.removeprefix("layer_")
    if middle in _NORMS:
        return f"{prefix}.{_NORMS[middle]}.LayerNorm.{_suffix(name)}"
    return f"{prefix}.{_DENSES[middle]}.{_suffix(name)}"


def _suffix(name: str) -> str:
    return "weight" if name.endswith(("/kernel", "/gamma")) else "bias"


def _to_keras(name: str, value: np.ndarray, shape: list[int]) -> np.ndarray:
    """Turns a torch Linear's [out, in] into Keras's layout; leaves the rest."""
    if name.endswith("/kernel"):
        value = value.T
    # Attention splits an axis into heads; a wrong size is left for the caller to report.
    return value.reshape(shape) if value.size == np.prod(shape) else value


def _read_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        shards = ["model.safetensors"]
    tensors = {}
    for shard in shards:
        path = folder / shard
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing. If the folder holds pytorch_model.bin, load it with "
                "transformers and save_pretrained(..., safe_serialization=True)"
            )
        with safetensors.safe_open(path, framework="np") as file:
            for name in sorted(file.keys()):
                short = name.removeprefix("bert.")
                short = short.replace("LayerNorm.gamma", "LayerNorm.weight")
                short = short.replace("LayerNorm.beta", "LayerNorm.bias")
                if not short.startswith(_IGNORED):
                    tensors[short] = file.get_tensor(name)
    return tensors
