"""Times the training step alone, plain against fused, beside the bound of its matrix products.

    python -m benchmarks.step_speed --shapes=bert_base:32x128,minilm:8x128

Both steps are taken in turn, so that what else the machine does meets them alike; of each the
fastest counts, and of the ratio the median over pairs. The bound is how long the step's products
would take if each were as fast as a lone product of the block's largest shape, which is timed in
the same run (see `benchmarks.matmul_bound`). It takes the environment as it is: with
`TF_ENABLE_ONEDNN_OPTS=1` the products are those of `train.run` on every x86 CPU.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tf_keras
from absl import app, flags
from official.nlp.modeling import networks

from benchmarks.matmul_bound import bound
from benchmarks.step_flops import step_flops
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.fit.compile import compile_model
from train.fit.fused_block import fuse
from train.objectives.model import build_classifier

FLAGS = flags.FLAGS
_ENCODERS = {
    "bert_base": {
        "num_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "inner_dim": 3072,
    },
    "minilm": {
        "num_layers": 6,
        "hidden_size": 384,
        "num_attention_heads": 12,
        "inner_dim": 1536,
    },
}
# The encoder's words in those that `step_flops` reads.
_HUGGING_FACE = {
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "num_attention_heads": "num_attention_heads",
    "inner_dim": "intermediate_size",
}
_WORDS = 30522
_CLASSES = 20

flags.DEFINE_list("shapes", ["bert_base:32x128", "minilm:8x128"], "ENCODER:ROWSxLENGTH.")
flags.DEFINE_list("precisions", ["bfloat16", "float32"], "Of the computation.")
flags.DEFINE_integer("layers", None, "Blocks, if not the encoder's own number.", lower_bound=1)
flags.DEFINE_integer("adapter_size", 64, "Width of the adapters.", lower_bound=1)
flags.DEFINE_integer("repeats", 20, "How often each step is timed.", lower_bound=3)


def main(argv: Sequence[str]) -> None:
    """Prints a row for each precision and shape."""
    del argv
    print("| shape | precision | plain ms | fused ms | ratio | CPU ms | bound ms | share |")
    print("|---|---|---|---|---|---|---|---|")
    for precision in FLAGS.precisions:
        policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
        tf_keras.mixed_precision.set_global_policy(policy)
        for shape in FLAGS.shapes:
            name, _, size = shape.partition(":")
            rows, length = map(int, size.split("x"))
            _measure(shape, precision, _ENCODERS[name], rows, length)


def _measure(shape: str, precision: str, encoder: dict[str, int], rows: int, length: int) -> None:
    encoder = {**encoder, "num_layers": FLAGS.layers or encoder["num_layers"]}
    steps = [_make_step(encoder, rows, length, fused) for fused in (False, True)]
    walls, processors = [[], []], [[], []]
    for _ in range(FLAGS.repeats):
        for index, step in enumerate(steps):
            wall, processor = _time(step)
            walls[index].append(wall)
            processors[index].append(processor)
    largest = (rows * length, encoder["hidden_size"], encoder["inner_dim"])
    config = {_HUGGING_FACE[name]: value for name, value in encoder.items()}
    flops = step_flops(config, [length] * rows, FLAGS.adapter_size, True, first_only=True)
    least = flops / bound(precision, largest)
    plain, fused = map(min, walls)
    ratio = statistics.median(a / b for a, b in zip(*walls, strict=True))
    used = "/".join(f"{min(times) * 1e3:.0f}" for times in processors)
    print(
        f"| {shape} | {precision} | {plain * 1e3:.0f} | {fused * 1e3:.0f} | {ratio:.2f} | {used} "
        f"| {least * 1e3:.0f} | {least / plain:.0%} -> {least / fused:.0%} |",
        flush=True,
    )


def _make_step(encoder: dict[str, int], rows: int, length: int, fused: bool) -> Callable[[], None]:
    built = networks.BertEncoderV2(
        vocab_size=_WORDS,
        max_sequence_length=length,
        type_vocab_size=2,
        inner_activation="gelu",
        output_range=1,
        **encoder,
    )
    method = Method.of(AdapterConfig(FLAGS.adapter_size))
    model = build_classifier(built, _CLASSES, method=method)
    if fused:
        fuse(built)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compile_model(model, loss, learning_rate=1e-4, steps=10_000, seed=0)
    random = np.random.default_rng(0)
    words = tf.constant(random.integers(1, _WORDS, (rows, length)), tf.int32)
    inputs = {
        "input_word_ids": words,
        "input_mask": tf.ones_like(words),
        "input_type_ids": tf.zeros_like(words),
    }
    labels = tf.constant(random.integers(0, _CLASSES, rows), tf.int32)
    train = tf.function(model.train_step)
    for _ in range(2):
        train((inputs, labels))
    return lambda: train((inputs, labels))["loss"].numpy()


def _time(step: Callable[[], None]) -> tuple[float, float]:
    """Returns the seconds that a step takes: by the clock, and of all processors together."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    step()
    end, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return end - start, used


if __name__ == "__main__":
    tf_keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    app.run(main)
