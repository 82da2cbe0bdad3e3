"""A Hugging Face BERT folder into a tf-models-official `BertEncoderV2`.

Format: `config.json` and `model.safetensors` (or shards and their index) as written by
`transformers.BertModel.save_pretrained`.
"""

from __future__ import annotations

import os

import numpy as np
import safetensors
from official.nlp.modeling import networks

from keras_adapters.converters.building import assign_weights, build_encoder
from keras_adapters.converters.formats import EncoderCheckpoint, recognise, safetensors_files
from keras_adapters.converters.names import hugging_face_name
from keras_adapters.model_garden.variables import encoder_variables

# Left behind: position_ids is a constant, the rest are heads of other tasks.
_IGNORED = ("embeddings.position_ids", "cls.", "classifier.", "qa_outputs.")


def load_hugging_face(
    path: str | os.PathLike, *, output_range: int | None = None
) -> networks.BertEncoderV2:
    """Builds a `BertEncoderV2` with the weights of a Hugging Face BERT folder.

    Args:
      path: holds `config.json` and the weights as safetensors, in float32, float16 or
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
    checkpoint = recognise(path, only="hugging_face")
    encoder = build_encoder(checkpoint.config, output_range)
    tensors = _read_tensors(checkpoint)
    values = {}
    for name in encoder_variables(encoder):
        source = hugging_face_name(name)
        if source in tensors:
            value = tensors.pop(source)
            # A torch Linear is [out, in].
            values[name] = value.T if name.endswith("/kernel") else value
    assign_weights(encoder, {**values, **tensors}, str(checkpoint.folder))
    return encoder


def _read_tensors(checkpoint: EncoderCheckpoint) -> dict[str, np.ndarray]:
    tensors = {}
    for file_name in safetensors_files(checkpoint.weights):
        with safetensors.safe_open(checkpoint.folder / file_name, framework="np") as file:
            for name in sorted(file.keys()):
                short = name.removeprefix("bert.")
                short = short.replace("LayerNorm.gamma", "LayerNorm.weight")
                short = short.replace("LayerNorm.beta", "LayerNorm.bias")
                if not short.startswith(_IGNORED):
                    tensors[short] = file.get_tensor(name)
    return tensors
