"""Trains an adapted KerasHub encoder by `fit` on one backend; prints how fast, as JSON.

    KERAS_BACKEND=jax python -m benchmarks.backend_speed_keras_hub --encoder=MODEL_FOLDER

A process of its own for `benchmarks.backend_speed`. Every text has all its tokens, and the
times leave out the steps of a first `fit`, in which Keras traces and compiles.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import sys
import time

import keras
import numpy as np

import keras_adapters as ka
from keras_adapters.keras_hub import load_backbone

WARM_UP_STEPS = 3
_CLASSES = 2
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def build(folder: pathlib.Path, size: int, frozen_layer_norms: bool, jit: bool) -> keras.Model:
    """Returns a compiled classifier on the first token's state, in an adapted encoder.

    Args:
      folder: a BERT in Hugging Face's format.
      size: the adapters' width.
      frozen_layer_norms: train the adapters alone.
      jit: let Keras compile the step by XLA, where it would.
    """
    backbone = load_backbone(folder)
    config = ka.AdapterConfig(size)
    ka.adapt(backbone, ka.Method(config, "nothing" if frozen_layer_norms else "layer_norms"))
    first = backbone(backbone.input)["sequence_output"][:, 0]
    first = keras.layers.Dropout(0.1)(first)
    model = keras.Model(backbone.input, keras.layers.Dense(_CLASSES, dtype="float32")(first))
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.01, global_clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile="auto" if jit else False,
    )
    return model


def make_data(words: int, texts: int, length: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns inputs of random words, each `<int32>[texts, length]`, and labels."""
    random = np.random.default_rng(0)
    tokens = random.integers(1, words, (texts, length), dtype="int32")
    inputs = {
        "token_ids": tokens,
        "padding_mask": np.ones_like(tokens),
        "segment_ids": np.zeros_like(tokens),
    }
    return inputs, np.arange(texts, dtype="int32") % _CLASSES


def main() -> None:
    """Trains, and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--encoder", type=pathlib.Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, help="that are timed")
    parser.add_argument("--precision", choices=list(_POLICIES), default="float32")
    parser.add_argument("--frozen_layer_norms", action="store_true")
    parser.add_argument("--no_jit", action="store_true", help="without XLA")
    flags = parser.parse_args()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(_POLICIES[flags.precision])
    model = build(flags.encoder, flags.size, flags.frozen_layer_norms, not flags.no_jit)
    words = json.loads((flags.encoder / "config.json").read_text())["vocab_size"]

    def fit(steps: int) -> float:
        data = make_data(words, steps * flags.batch_size, flags.length)
        history = model.fit(*data, batch_size=flags.batch_size, shuffle=False, verbose=0)
        return history.history["loss"][-1]  # As a number, which waits for the last step.

    loss = fit(WARM_UP_STEPS)
    print(f"loss={loss:.4f}", file=sys.stderr, flush=True)
    start = time.perf_counter()
    loss = float(fit(flags.steps))
    seconds = time.perf_counter() - start
    if not math.isfinite(loss):
        sys.exit(f"error: the last loss is {loss}")
    result = {
        "examples_per_second": flags.steps * flags.batch_size / seconds,
        "trained": sum(math.prod(v.shape) for v in model.trainable_variables),
        "backend": keras.backend.backend(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
