"""What a checkpoint of any format holds, held against its settings; no values are read.

Each format has a module, imported for a checkpoint of that format alone: all but Hugging
Face's need TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from keras_adapters.converters import configs
from keras_adapters.converters.formats import EncoderCheckpoint
from keras_adapters.converters.shapes import check_shapes
from keras_adapters.converters.stored import StoredTensor
from keras_adapters.vocabulary import is_lower_case

# The module of each of `formats.FORMATS`; its `read_tensors` names the tensors as here.
_MODULES = {
    "hugging_face": "keras_adapters.converters.hugging_face",
    "tf1": "keras_adapters.converters.tf1",
    "model_garden": "keras_adapters.converters.model_garden",
    "saved_model": "keras_adapters.converters.saved_model",
}


def read_tensors(
    checkpoint: EncoderCheckpoint, config: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    """Finds the tensors of the encoder in a checkpoint, and looks whether they make one.

    Args:
      checkpoint: the files.
      config: its settings, which `converters.configs` speaks of.

    Returns:
      All tensors of a BERT of these settings, by the names of `shapes.variable_shapes`;
      attention's may have the axes of heads and head size as one.

    Raises:
      OSError: a file is missing or cannot be read.
      ValueError: the files hold no such encoder, or several, or one with adapters; names are
        missing or extra or shapes differ (all in one error), one is there twice, a type is
        not one of weights, or the files are shorter than their own headers say.
    """
    module = importlib.import_module(_MODULES[checkpoint.format])
    tensors = module.read_tensors(checkpoint, config)
    source = str(checkpoint.weights)
    check_shapes(config, {name: tensor.shape for name, tensor in tensors.items()}, source)
    for tensor in tensors.values():
        tensor.check_type()
    promised = sum(tensor.bytes() for tensor in tensors.values())
    held = sum(file.stat().st_size for file in checkpoint.files)
    if promised > held:
        raise ValueError(
            f"{source} is damaged, a file may be cut short: its tensors take {promised:,} bytes, "
            f"but its files have {held:,}"
        )
    return tensors


def lower_case_of(checkpoint: EncoderCheckpoint, vocabulary: Sequence[str]) -> bool:
    """Returns whether an encoder's vocabulary is uncased: as the files say, or else as it shows.

    A SavedModel says it in a variable, which takes TensorFlow to read.

    Args:
      checkpoint: the encoder's files.
      vocabulary: its tokens.

    Raises:
      OSError: a SavedModel's variables cannot be read.
      ValueError: the files say something else than true or false, or are damaged.
    """
    said = None
    if checkpoint.format == "saved_model":
        from keras_adapters.converters.saved_model import read_lower_case

        said = read_lower_case(checkpoint)
    elif (path := checkpoint.folder / "tokenizer_config.json").exists():
        said = configs.read_flag(path, "do_lower_case")
    return is_lower_case(vocabulary) if said is None else said
