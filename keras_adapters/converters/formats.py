"""Tells apart the formats that pretrained BERTs come in; needs no TensorFlow, reads no weights."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
from typing import Any

from keras_adapters.converters import configs
from keras_adapters.converters.saved_model_proto import read_saved_model_config

FORMATS = {
    "hugging_face": "Hugging Face: config.json, model.safetensors, vocab.txt",
    "tf1": "Google's release: bert_config.json, bert_model.ckpt.{index,data-*}, vocab.txt",
    "model_garden": "Model Garden: bert_config.json or a .yaml, ckpt-N.{index,data-*}, vocab.txt",
    "saved_model": "TensorFlow Hub or Kaggle: saved_model.pb, variables/, assets/vocab.txt",
}
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
# The name under which a TensorFlow 2 checkpoint keeps its object graph; TensorFlow 1 has none.
_OBJECT_GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
_SHARD = re.compile(r"\.data-\d{5}-of-(\d{5})$")


@dataclasses.dataclass(frozen=True)
class EncoderCheckpoint:
    """A pretrained BERT encoder on disk.

    Args:
      format: a key of `FORMATS`.
      folder: where its files are.
      weights: the safetensors file or the index of several, the checkpoint's prefix, or
        `saved_model.pb`.
    """

    format: str
    folder: pathlib.Path
    weights: pathlib.Path

    @property
    def vocab_file(self) -> pathlib.Path:
        """The WordPiece vocabulary, one token a line."""
        return self.folder / ("assets" if self.format == "saved_model" else "") / "vocab.txt"

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The settings that `converters.configs` speaks of.

        Raises:
          FileNotFoundError: the file with the configuration is missing.
          ValueError: it describes a model that `BertEncoderV2` cannot be.
        """
        if self.format == "hugging_face":
            return configs.read_hugging_face_config(self.folder)
        if self.format == "tf1":
            return configs.read_bert_config(self.folder / "bert_config.json")
        if self.format == "model_garden":
            return configs.read_model_garden_config(self.folder)
        return read_saved_model_config(self.weights)


def recognise(path: str | os.PathLike, only: str | None = None) -> EncoderCheckpoint:
    """Finds the one checkpoint that a path names and tells its format.

    Args:
      path: a folder with one checkpoint, or a checkpoint's file or prefix, by which one of
        several in a folder is named.
      only: the format to look for; by default any.

    Raises:
      FileNotFoundError: the path does not exist, or there is no checkpoint or only a part.
      ValueError: the folder holds more than one.
    """
    path = pathlib.Path(path)
    folder = path if path.is_dir() else path.parent
    found = [c for c in _checkpoints(folder) if only in (None, c.format)]
    if folder is not path:
        found = [c for c in found if c.weights == path or f"{path}".startswith(f"{c.weights}.")]
        if not found and not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such folder, file or checkpoint")
    if not found:
        layouts = [text for name, text in FORMATS.items() if only in (None, name)]
        raise FileNotFoundError(
            f"{path} holds no BERT encoder in a format that can be read. "
            f"The files that make one:\n  " + "\n  ".join(layouts) + _hint(folder)
        )
    if len(found) > 1:
        names = ", ".join(f"{c.weights.name} ({FORMATS[c.format].split(':')[0]})" for c in found)
        raise ValueError(
            f"{folder} holds more than one encoder: {names}. Name one of them, as in "
            f"{found[0].weights}, in place of the folder"
        )
    (checkpoint,) = found
    missing = [str(file) for file in _weight_files(checkpoint) if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"{checkpoint.weights} is not whole. Missing: {', '.join(missing)}")
    return checkpoint


def is_lower_case(vocab_file: pathlib.Path) -> bool:
    """Returns whether a vocabulary is uncased: lower-casing would change none of its tokens.

    What stands in square brackets, [CLS] or [unused1], does not count.
    """
    tokens = vocab_file.read_text(encoding="utf-8").split()
    return all(t == t.lower() for t in tokens if not (t.startswith("[") and t.endswith("]")))


def _checkpoints(folder: pathlib.Path) -> list[EncoderCheckpoint]:
    found = []
    for name in _SAFETENSORS:
        if (folder / name).is_file() and not found:
            found.append(EncoderCheckpoint("hugging_face", folder, folder / name))
    for index in sorted(folder.glob("*.index")):
        kind = "model_garden" if _OBJECT_GRAPH in index.read_bytes() else "tf1"
        found.append(EncoderCheckpoint(kind, folder, index.with_suffix("")))
    if (folder / "saved_model.pb").is_file():
        found.append(EncoderCheckpoint("saved_model", folder, folder / "saved_model.pb"))
    return found


def _weight_files(checkpoint: EncoderCheckpoint) -> list[pathlib.Path]:
    """Returns the files that the weights are made of."""
    if checkpoint.format == "hugging_face":
        return [checkpoint.folder / name for name in safetensors_files(checkpoint.weights)]
    prefix = checkpoint.weights
    if checkpoint.format == "saved_model":
        prefix = checkpoint.folder / "variables" / "variables"
    present = [file.name for file in prefix.parent.glob(f"{prefix.name}.data-*")]
    totals = {int(match[1]) for name in present if (match := _SHARD.search(name))} or {1}
    total = max(totals)
    shards = [f"{prefix.name}.data-{index:05}-of-{total:05}" for index in range(total)]
    return [prefix.parent / name for name in (f"{prefix.name}.index", *shards)]


def safetensors_files(weights: pathlib.Path) -> list[str]:
    """Returns the names of the files that a safetensors file or index stands for.

    Raises:
      ValueError: the index is not one.
    """
    if weights.suffix != ".json":
        return [weights.name]
    weight_map = configs.read_json(weights).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{weights} must have a `weight_map`")
    return sorted(set(weight_map.values()))


def _hint(folder: pathlib.Path) -> str:
    if (folder / "pytorch_model.bin").is_file():
        return (
            "\npytorch_model.bin is not read. Convert it once with transformers: "
            "BertModel.from_pretrained(folder).save_pretrained(folder)"
        )
    return ""
