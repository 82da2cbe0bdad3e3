"""Finds a pretrained encoder's files by a preset's name or a path; reads no weights."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import json
import os
import pathlib
import re
from typing import Any

from keras_adapters.converters import configs, formats
from keras_adapters.converters.reading import lower_case_of
from keras_adapters.vocabulary import read_vocabulary
from train.encoders import hub
from train.encoders.presets import (
    BERTS,
    DEFAULT,
    PACKAGED,
    PUBLISHED,
    REPOSITORIES,
    SMALL_BERTS,
)

__all__ = ["DEFAULT", "EncoderFiles", "find_encoder"]


_CHUNK = 1 << 20  # Bytes.
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclasses.dataclass(frozen=True)
class EncoderFiles:
    """A pretrained encoder on disk, as it was when it was looked up.

    Args:
      name: what the user called it.
      checkpoint: its files, recognised: what `keras_adapters.converters.load.load_encoder`
        takes.
      vocabulary: the tokens of its vocabulary, in the order of their ids.
      pooling: what it was pretrained to give for a whole text: `pooler`, BERT's pooled
        output, or `mean`, the mean over tokens of a sentence-transformers model (whose
        BERT pooler was never trained).
    """

    name: str
    checkpoint: formats.EncoderCheckpoint
    vocabulary: tuple[str, ...] = dataclasses.field(repr=False)
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

    @property
    def hub_name(self) -> str | None:
        """Its name on the Hugging Face Hub, if it is known to be published there."""
        if self.name in PUBLISHED:
            return PUBLISHED[self.name]
        named = _REPOSITORY.fullmatch(self.name) and not os.path.exists(self.name)
        return self.name if named else None

    @functools.cached_property
    def lower_case(self) -> bool:
        """Whether its vocabulary is uncased: as the files say, or else by the vocabulary.

        A SavedModel says it in a variable, which takes TensorFlow to read.

        Raises:
          OSError: a SavedModel's variables cannot be read.
          ValueError: the files say something else than true or false, or are damaged.
        """
        return lower_case_of(self.checkpoint, self.vocabulary)

    @functools.cached_property
    def checksum(self) -> str:
        """What it is, wherever it is: the SHA-256 of its files' contents, in hex.

        It is over the files of the weights, the settings, the vocabulary and `lower_case`;
        of paths and of the preset's name there is nothing in it. All the weights are read,
        the first time; a SavedModel's `lower_case` takes TensorFlow.

        Raises:
          OSError: a file cannot be read.
          ValueError: as `lower_case` says.
        """
        said = {"config": self.config, "lower_case": self.lower_case, "vocab": self.vocabulary}
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for path in self.checkpoint.files:
            digest.update(_sha256(path))
        return digest.hexdigest()


def find_encoder(name: str | os.PathLike) -> EncoderFiles:
    """Finds an encoder, fetching it from the Hugging Face Hub if that is where it is.

    Args:
      name: a preset, the path of a checkpoint in any of `formats.FORMATS`, or the id of a
        repository of the Hugging Face Hub, such as `org/name`.

    Raises:
      FileNotFoundError: a preset's package is not installed, a repository cannot be
        fetched, or the path does not hold all the files; the text says what to do.
      OSError: a file cannot be read.
      ValueError: `name` is of another type, the folder holds several encoders, its
        configuration is not that of a BERT model, its vocabulary repeats a token or is
        longer than the embedding, or another of its files does not say what it should.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ValueError(f"--encoder must be a name or a path. Received: {name!r}")
    try:
        name = os.fspath(name)
        checkpoint = formats.recognise(_path(name))
        vocab_size = checkpoint.config["vocab_size"]
        vocabulary = read_vocabulary(checkpoint.vocab_file)
        if len(vocabulary) > vocab_size:
            raise ValueError(
                f"{checkpoint.vocab_file} has {len(vocabulary)} tokens, but the encoder embeds "
                f"{vocab_size}"
            )
        files = EncoderFiles(name, checkpoint, tuple(vocabulary), _pooling(checkpoint.folder))
        if checkpoint.format != "saved_model":
            _ = files.lower_case  # A bad tokenizer_config.json is reported here.
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--encoder={name}: {error}") from error
    except OSError as error:
        raise OSError(f"--encoder={name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"--encoder={name}: {error}") from error
    return files


def _path(name: str) -> pathlib.Path:
    if name in PACKAGED:
        return _packaged(*PACKAGED[name])
    if name in REPOSITORIES:
        return hub.fetch(REPOSITORIES[name])
    path = pathlib.Path(name)
    if name and (path.exists() or path.with_name(f"{path.name}.index").is_file()):
        return path
    if _REPOSITORY.fullmatch(name):
        return hub.fetch(name)
    small = list(SMALL_BERTS)
    raise FileNotFoundError(
        "this is neither a preset, nor a folder or checkpoint that exists, nor the id of a "
        f"Hugging Face repository (org/name). The presets are {', '.join([*PACKAGED, *BERTS])} "
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
    if path.exists() and configs.read_flag(path, "pooling_mode_mean_tokens"):
        return "mean"
    return "pooler"


def _sha256(path: pathlib.Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
