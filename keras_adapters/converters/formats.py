"""Tells apart the formats that pretrained BERTs come in; needs no TensorFlow, reads no weights."""

from __future__ import annotations

import dataclasses
import functools
import glob
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
_PATHS = (pathlib.PurePosixPath, pathlib.PureWindowsPath)
_AT_MOST = 16
_SHARD = re.compile(r"\.data-\d{5}-of-(\d{5})$")


@dataclasses.dataclass(frozen=True)
class EncoderCheckpoint:
    """A pretrained BERT encoder on disk.

    Args:
      format: a key of `FORMATS`.
      folder: where its files are.
      weights: the safetensors file or the index of several, the checkpoint's prefix, or
        `saved_model.pb`.
      files: the files that hold the weights.
    """

    format: str
    folder: pathlib.Path
    weights: pathlib.Path
    files: tuple[pathlib.Path, ...]

    @property
    def prefix(self) -> pathlib.Path:
        """The TensorFlow checkpoint's path, without `.index`; not of Hugging Face's format."""
        return _prefix(self.format, self.weights)

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


def recognise(path: str | os.PathLike) -> EncoderCheckpoint:
    """Finds the one checkpoint that a path names and tells its format.

    Args:
      path: a folder with one checkpoint, or a checkpoint's file or prefix, by which one of
        several in a folder is named.

    Raises:
      OSError: a file cannot be read; of it `FileNotFoundError`: the path does not exist, or
        there is no checkpoint or only a part.
      ValueError: the folder holds more than one, or an index of safetensors is not one.
    """
    try:
        path = pathlib.Path(path)
    except TypeError as error:
        raise ValueError(f"an encoder's path must be a string or a path: {error}") from error
    folder = path if path.is_dir() else path.parent
    found = _weights(folder)
    if folder is not path:
        exact = [(kind, w) for kind, w in found if path == w]
        found = exact or [(kind, w) for kind, w in found if path in _files(kind, w)]
        if not found and not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such folder, file or checkpoint")
    if not found:
        raise FileNotFoundError(
            f"{path} holds no BERT encoder in a format that can be read. "
            f"The files that make one:\n  " + "\n  ".join(FORMATS.values()) + _hint(folder)
        )
    if len(found) > 1:
        names = ", ".join(f"{w.name} ({FORMATS[kind].split(':')[0]})" for kind, w in found)
        raise ValueError(
            f"{folder} holds more than one encoder: {names}. Name one of them, as in "
            f"{found[0][1]}, in place of the folder"
        )
    ((kind, weights),) = found
    files = _files(kind, weights)
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        more = f" and {len(missing) - _AT_MOST} more" if len(missing) > _AT_MOST else ""
        raise FileNotFoundError(
            f"{weights} is not whole. Missing: {', '.join(missing[:_AT_MOST])}{more}"
        )
    return EncoderCheckpoint(kind, folder, weights, files)


def _weights(folder: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
    """Returns the format and the weights of each checkpoint in a folder."""
    safetensors = [("hugging_face", folder / name) for name in _SAFETENSORS]
    found = [(kind, path) for kind, path in safetensors if path.is_file()][:1]
    for index in sorted(folder.glob("*.index")):
        if index.is_file():
            kind = "model_garden" if _OBJECT_GRAPH in index.read_bytes() else "tf1"
            found.append((kind, index.with_suffix("")))
    if (folder / "saved_model.pb").is_file():
        found.append(("saved_model", folder / "saved_model.pb"))
    return found


def _prefix(kind: str, weights: pathlib.Path) -> pathlib.Path:
    return weights.parent / "variables" / "variables" if kind == "saved_model" else weights


def _files(kind: str, weights: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that the weights are made of, there or not."""
    if kind == "hugging_face":
        return _safetensors_files(weights)
    prefix = _prefix(kind, weights)
    present = [file.name for file in prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*")]
    totals = {int(match[1]) for name in present if (match := _SHARD.search(name))} or {1}
    total = max(totals)
    shards = [f"{prefix.name}.data-{index:05}-of-{total:05}" for index in range(total)]
    return tuple(prefix.parent / name for name in (f"{prefix.name}.index", *shards))


def _safetensors_files(weights: pathlib.Path) -> tuple[pathlib.Path, ...]:
    if weights.suffix != ".json":
        return (weights,)
    weight_map = configs.read_json(weights).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{weights} must have a `weight_map`")
    for name in weight_map.values():
        # A name of this folder on any system, for the index may be of anyone's making.
        if not isinstance(name, str) or not _is_plain(name):
            raise ValueError(
                f"{weights}: `weight_map` must name files of its own folder. "
                f"Received: {configs.shown(name)}"
            )
    return tuple(weights.parent / name for name in sorted(set(weight_map.values())))


def _is_plain(name: str) -> bool:
    plain = all(path(name).name == name for path in _PATHS)
    return plain and name not in ("", "..") and name.isprintable()


def _hint(folder: pathlib.Path) -> str:
    if (folder / "pytorch_model.bin").is_file():
        return (
            "\npytorch_model.bin is not read. Convert it once with transformers: "
            "BertModel.from_pretrained(folder).save_pretrained(folder)"
        )
    return ""
