"""Calls a SavedModel that `train.run` exported; needs TensorFlow and tensorflow-text alone.

python examples/call_saved_model.py runs/reuters_r8-adapters64-seed0/saved_model "net profit rose"
"""

import sys

import tensorflow as tf
import tensorflow_text  # noqa: F401  The model's graph uses its ops.


def main() -> None:
    """Prints each text's likeliest label and its probability."""
    if len(sys.argv) < 3:
        sys.exit("usage: call_saved_model.py SAVED_MODEL TEXT [TEXT ...]")
    folder, *texts = sys.argv[1:]
    classify = tf.saved_model.load(folder).signatures["serving_default"]
    outputs = classify(text=tf.constant(texts))
    best = tf.reduce_max(outputs["probabilities"], axis=-1)
    for text, label, probability in zip(texts, outputs["label"].numpy(), best, strict=True):
        print(f"{label.decode()}\t{probability:.3f}\t{text}")


if __name__ == "__main__":
    main()
