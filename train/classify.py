"""Classifies texts with an exported SavedModel: `python -m train.classify --saved_model=...`.

Needs TensorFlow and tensorflow-text, and nothing else of this project.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from absl import app, flags

_SAVED_MODEL = flags.DEFINE_string("saved_model", None, "A run's saved_model folder.")
flags.mark_flag_as_required("saved_model")


def main(argv: Sequence[str]) -> None:
    """Prints the likeliest label of each text given as an argument, or line of input.

    For a task of pairs, a tab stands between the two texts.
    """
    if not os.path.isdir(_SAVED_MODEL.value):
        sys.exit(f"error: --saved_model={_SAVED_MODEL.value} is not a folder")
    texts = argv[1:] or [line.rstrip("\n") for line in sys.stdin]
    if not texts:
        sys.exit("error: give texts as arguments, or one a line on standard input")

    import tensorflow as tf
    import tensorflow_text  # noqa: F401  The model's graph uses its ops.

    model = tf.saved_model.load(_SAVED_MODEL.value)
    classify = model.signatures["serving_default"]
    names = ["text", "text_pair"][: len(classify.structured_input_signature[1])]
    columns = [text.split("\t", len(names) - 1) for text in texts]
    for text, fields in zip(texts, columns, strict=True):
        if len(fields) != len(names):
            sys.exit(f"error: this model takes pairs, two texts with a tab between: {text!r}")
    inputs = {name: tf.constant([row[i] for row in columns]) for i, name in enumerate(names)}
    outputs = classify(**inputs)
    best = tf.reduce_max(outputs["probabilities"], axis=-1).numpy()
    for text, label, probability in zip(texts, outputs["label"].numpy(), best, strict=True):
        print(f"{label.decode()}\t{probability:.3f}\t{text}")


if __name__ == "__main__":
    app.run(main)
