"""The tensors of a Hugging Face BERT folder; needs no TensorFlow.

Format: `config.json` and `model.safetensors` (or shards and their index) as written by
`transformers.BertModel.save_pretrained`.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import safetensors

from keras_adapters.converters.formats import EncoderCheckpoint
from keras_adapters.converters.names import hugging_face_name
from keras_adapters.converters.shapes import INSERTED, variable_names
from keras_adapters.converters.stored import StoredTensor, check_readable, damaged

# Left behind: position_ids is a constant, the rest are heads of other tasks.
_IGNORED = ("embeddings.position_ids", "cls.", "classifier.", "qa_outputs.")
_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def read_tensors(
    checkpoint: EncoderCheckpoint, config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    """Finds the tensors of a BERT in safetensors files.

    Args:
      checkpoint: what `formats.recognise` found, of the format `hugging_face`: tensors in
        float32, float16 or bfloat16, with or without the `bert.` prefix and the
        `gamma`/`beta` spelling.
      config: its settings.

    Returns:
      Tensors by the names of `shapes.variable_shapes`, and others by their places.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: a file is damaged, or a tensor is there twice.
    """
    stored = list(_read_headers(checkpoint.files))
    ours = {hugging_face_name(name): name for name in variable_names(config, len(stored))}
    tensors: dict[str, StoredTensor] = {}
    for source, tensor in stored:
        short = source.removeprefix("bert.")
        short = short.replace("LayerNorm.gamma", "LayerNorm.weight")
        short = short.replace("LayerNorm.beta", "LayerNorm.bias")
        if short.startswith(_IGNORED) and not INSERTED.search(short):
            continue
        name = ours.get(short, tensor.place)
        if name in tensors:
            raise ValueError(f"{tensor.place} is there twice, the first is {tensors[name].place}")
        # A torch Linear is [out, in].
        tensors[name] = tensor.transposed() if name.endswith("/kernel") else tensor
    return tensors


def _read_headers(files: Sequence[pathlib.Path]) -> Iterator[tuple[str, StoredTensor]]:
    """Yields the tensors of safetensors files and their names there."""
    check_readable(files)
    for path in files:
        with damaged(path):
            file = safetensors.safe_open(path, framework="np")
            slices = {name: file.get_slice(name) for name in sorted(file.keys())}
            headers = {name: (tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}
        for name, (shape, dtype) in headers.items():
            read = functools.partial(_read, path, file, name)
            yield name, StoredTensor(f"{path}: {name}", shape, _TYPES.get(dtype, dtype), read)


def _read(path: pathlib.Path, file: safetensors.safe_open, name: str):
    with damaged(path):
        return file.get_tensor(name)
