"""What the SavedModels of all objectives have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.atomic import atomic_folder
from train.fit.inference_blocks import inference_blocks

_TOKEN_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")

Outputs = dict[str, tf.Tensor]


def write_saved_model(
    folder: str | os.PathLike,
    model: tf_keras.Model,
    text_inputs: Sequence[str],
    from_text: Callable[..., Outputs],
    from_tokens: Callable[[dict[str, tf.Tensor]], Outputs],
) -> None:
    """Writes a SavedModel with two signatures, each at any batch size, also none.

    `serving_default`: the texts, `<string>[batch]` each and all of one batch.
    `tokens`: `input_word_ids`, `input_mask` and `input_type_ids`, `<int32>[batch, seq]`, of the
    caller's own length, all of which is computed: XLA compiles it, for shapes that are known.

    Read it with `tf.saved_model.load`, after `import tensorflow_text`, whose ops the
    first signature uses.

    Args:
      folder: where; a folder that stands there is replaced, whole.
      model: what both signatures call.
      text_inputs: names of the texts.
      from_text: from one tensor per text to outputs.
      from_tokens: from an encoder's inputs by their names to outputs.
    """

    def serving_default(*texts: tf.Tensor) -> Outputs:
        return from_text(*of_one_batch(text_inputs, texts))

    def tokens(*inputs: tf.Tensor) -> Outputs:
        return from_tokens(dict(zip(_TOKEN_INPUTS, inputs, strict=True)))

    signatures = {
        "serving_default": (
            serving_default,
            [tf.TensorSpec([None], tf.string, name=name) for name in text_inputs],
        ),
        "tokens": (
            tokens,
            [tf.TensorSpec([None, None], tf.int32, name=name) for name in _TOKEN_INPUTS],
        ),
    }
    write_signatures(folder, model, signatures)


def write_signatures(
    folder: str | os.PathLike,
    model: tf_keras.Model,
    signatures: Mapping[str, tuple[Callable[..., Outputs], Sequence[tf.TensorSpec]]],
    tables: Sequence[Any] = (),
) -> None:
    """Writes a SavedModel of the variables that its signatures read.

    Args:
      folder: where; a folder that stands there is replaced, whole.
      model: what the signatures call; its blocks are in the form of `inference_blocks`.
      signatures: by name, a function of tensors and what it takes.
      tables: the lookup tables that the signatures use.
    """
    archive = tf.__internal__.tracking.AutoTrackable()
    functions = {}
    with inference_blocks(model, copied=True) as blocks:
        for name, (function, specs) in signatures.items():
            # Nothing in them asks Python about a tensor, and AutoGraph would read it all for that.
            function = tf.autograph.experimental.do_not_convert(function)
            function = tf.function(function, input_signature=list(specs))
            functions[name] = function.get_concrete_function()
            setattr(archive, name, functions[name])
        copies = [variable for block in blocks for variable in block.variables]
    archive.variables = [*_read_by(functions.values(), model.variables), *copies]
    archive.tables = list(tables)
    with atomic_folder(folder) as scratch:
        tf.saved_model.save(archive, scratch, functions)


def _read_by(
    functions: Iterable[tf.types.experimental.ConcreteFunction], variables: Iterable[tf.Variable]
) -> list[tf.Variable]:
    """Returns those variables that functions read; of a replicated one, the whole."""
    read = {id(each) for function in functions for each in function.graph.external_captures}

    def is_read(variable: tf.Variable) -> bool:
        return any(id(part.handle) in read for part in getattr(variable, "values", [variable]))

    return [variable for variable in variables if is_read(variable)]


def of_one_batch(names: Sequence[str], texts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the texts; where there are more of one than of another, that is an error."""
    first = tf.size(texts[0])
    checks = [
        tf.debugging.assert_equal(
            tf.size(other), first, f"there must be as many of `{name}` as of `{names[0]}`"
        )
        for name, other in zip(names[1:], texts[1:], strict=True)
    ]
    with tf.control_dependencies(checks):
        return [tf.identity(text) for text in texts]
