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
    """Prints the likeliest label of each text given as an argument, or line of input."""
    if not os.path.isdir(_SAVED_MODEL.value):
        sys.exit(f"error: --saved_model={_SAVED_MODEL.value} is not a folder")
    texts = argv[1:] or [line.rstrip("\n") for line in sys.stdin]
    if not texts:
        sys.exit("error: give texts as arguments, or one a line on standard input")

    import tensorflow as tf
    import tensorflow_text  # noqa: F401  The model's graph uses its ops.

    model = tf.saved_model.load(_SAVED_MODEL.value)
    outputs = model.signatures["serving_default"](text=tf.constant(texts))
    best = tf.reduce_max(outputs["probabilities"], axis=-1).numpy()
    for text, label, probability in zip(texts, outputs["label"].numpy(), best, strict=True):
        print(f"{label.decode()}\t{probability:.3f}\t{text}")


if __name__ == "__main__":
    app.run(main)
