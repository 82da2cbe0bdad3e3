"""What `benchmarks.train_speed` trains: texts of several lengths, and a BERT of random weights."""

from __future__ import annotations

import json
import math
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence

import numpy as np
import safetensors.numpy

from keras_adapters.atomic import atomic_folder
from keras_adapters.converters.names import hugging_face_name
from keras_adapters.converters.shapes import flat, variable_shapes
from train.encoders.find import EncoderFiles, find_encoder
from train.tasks.files import DataFiles
from train.tasks.table import TASKS

BERT_BASE = "bert_base"
_CONFIG = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "type_vocab_size": 2,
}
_TOKENIZER = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_WORD = re.compile(r"[a-z]{3,}")  # Each is a token of the vocabulary.
_AROUND = 2  # [CLS] and [SEP].
_SPREAD = 0.5  # Of the logarithms of lengths.
_DEV_TEXTS = 64
_LABELS = 2
_SEED = 0

Texts = Callable[[int, Sequence[str]], list[str]]


def folder_of(encoder: str, work: pathlib.Path) -> EncoderFiles:
    """Returns an encoder's files; a BERT-base of random weights is made if it is not there.

    Args:
      encoder: `BERT_BASE`, or what `train.run --encoder` takes and is a folder in Hugging
        Face's format.
      work: the folder to make the BERT-base in.

    Raises:
      OSError, ValueError: as `find_encoder` says, or the encoder has another format.
    """
    if encoder != BERT_BASE:
        files = find_encoder(encoder)
        if files.checkpoint.format != "hugging_face":
            raise ValueError(
                "--encoders must be in Hugging Face's format, which AdapterHub reads. "
                f"Received: {encoder}, in the format {files.checkpoint.format}"
            )
        return files
    folder = work / BERT_BASE
    if not folder.exists():
        write_random_bert(folder, _CONFIG)
    return find_encoder(folder)


def write_random_bert(folder: pathlib.Path, config: dict) -> None:
    """Writes a BERT of random weights in Hugging Face's format, with the packaged vocabulary.

    Args:
      folder: is made, whole or not at all.
      config: its settings, but for the vocabulary's size.
    """
    packaged = find_encoder("minilm_l6")
    config = {**config, "vocab_size": len(packaged.vocabulary)}
    random = np.random.default_rng(_SEED)
    tensors = {}
    shapes = variable_shapes({**config, "embedding_size": config["hidden_size"]})
    for name, shape in shapes.items():
        shape = flat(name, shape)
        kind = name.rsplit("/", 1)[1]
        if kind == "gamma":
            value = np.ones(shape, np.float32)
        elif kind in ("beta", "bias"):
            value = np.zeros(shape, np.float32)
        else:
            value = config["initializer_range"] * random.standard_normal(shape, np.float32)
        transposed = value.T if kind == "kernel" else value
        tensors[hugging_face_name(name)] = np.ascontiguousarray(transposed)
    with atomic_folder(folder) as whole:
        for name in _TOKENIZER:
            shutil.copy(packaged.folder / name, whole)
        (whole / "config.json").write_text(json.dumps(config, indent=2))
        safetensors.numpy.save_file(tensors, whole / "model.safetensors")


def full(length: int) -> Texts:
    """Makes texts of so many tokens, all alike."""
    return lambda count, vocabulary: _of_words([length] * count, vocabulary)


def around(length: int, longest: int) -> Texts:
    """Makes texts whose lengths are spread as those of sentences, log-normally around a mean."""

    def make(count: int, vocabulary: Sequence[str]) -> list[str]:
        mean = math.log(length) - _SPREAD**2 / 2
        lengths = np.random.default_rng(_SEED).lognormal(mean, _SPREAD, count)
        return _of_words(np.clip(lengths.round().astype(int), _AROUND + 1, longest), vocabulary)

    return make


def of_task(task: str) -> Texts:
    """Takes a packaged task's training texts, in random order, again and again if need be."""

    def make(count: int, vocabulary: Sequence[str]) -> list[str]:
        del vocabulary
        texts = TASKS[task].read(DataFiles()).train.columns[0]
        order = np.random.default_rng(_SEED).permutation(len(texts))
        return [texts[index] for index in np.resize(order, count)]

    return make


def _of_words(lengths: Sequence[int], vocabulary: Sequence[str]) -> list[str]:
    words = np.array([token for token in vocabulary if _WORD.fullmatch(token)])
    random = np.random.default_rng(_SEED + 1)
    return [" ".join(random.choice(words, length - _AROUND)) for length in lengths]


def write_texts(folder: pathlib.Path, texts: Sequence[str]) -> None:
    """Writes texts with labels in turn as `train.jsonl`, and some of them as `dev.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"text": text, "label": f"label_{index % _LABELS}"}) + "\n"
        for index, text in enumerate(texts)
    ]
    (folder / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "dev.jsonl").write_text("".join(lines[:_DEV_TEXTS]), encoding="utf-8")
