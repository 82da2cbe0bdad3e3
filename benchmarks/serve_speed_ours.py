"""Times a SavedModel from raw texts to labels and probabilities, and prints it as JSON.

`benchmarks.serve_speed` runs it. It needs TensorFlow and tensorflow-text alone.
"""

import argparse
import json
import sys
import time

START = time.perf_counter()

import tensorflow as tf  # noqa: E402  Timed.

TENSORFLOW = time.perf_counter()

import tensorflow_text  # noqa: E402, F401  The model's graph uses its ops.
from serve_speed_timing import measure, read_cases  # noqa: E402  Timed.


def main():
    """Loads the model, answers a text, and times the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--saved_model", required=True)
    parser.add_argument("--cases", required=True)
    flags = parser.parse_args()
    imported = time.perf_counter()
    model = tf.saved_model.load(flags.saved_model)
    loaded = time.perf_counter()
    by_text, by_tokens = (model.signatures[name] for name in ("serving_default", "tokens"))

    def answer(texts):
        outputs = by_text(text=tf.constant(texts))
        return outputs["label"].numpy(), outputs["probabilities"].numpy()

    def encode(texts):
        # As many tokens as words, which are of the vocabulary, and two.
        length = max(len(text.split()) for text in texts) + 2
        length += length % 2  # As the SavedModel pads short texts.
        ones = tf.ones([len(texts), length], tf.int32)
        return {"input_word_ids": ones, "input_mask": ones, "input_type_ids": 0 * ones}

    def compute(inputs):
        return by_tokens(**inputs)["probabilities"].numpy()

    cases = read_cases(flags.cases)
    answer(cases[0]["texts"][:1])
    answered = time.perf_counter()
    print("answered", file=sys.stderr, flush=True)
    result = {
        "import_seconds": imported - START,
        "import_tensorflow_seconds": TENSORFLOW - START,
        "load_seconds": loaded - imported,
        "first_answer_seconds": answered - loaded,
        "cases": measure(cases, answer, encode, compute),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
