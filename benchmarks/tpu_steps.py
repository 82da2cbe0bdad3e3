"""Writes the steps of one model as StableHLO, as TensorFlow hands them to a TPU's compiler.

    python -m benchmarks.tpu_steps --encoder=bert_base --method=adapters --output_dir=/tmp/steps

A process of its own for `benchmarks.tpu_compile`, so that the model's memory is free again
before the compiler needs it.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

import jaxlib._jax
import tensorflow as tf
import tf_keras
from absl import app, flags
from jax.interpreters import mlir
from jaxlib.mlir import ir
from official.nlp.modeling import networks

from benchmarks.tpu_grid import ENCODERS, STEPS
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS, Method
from train.fit.compile import compile_model
from train.fit.execution import plan_packing
from train.objectives.model import build_classifier
from train.objectives.packed import pack_classifier

FLAGS = flags.FLAGS
_CLASSES = 3

flags.DEFINE_enum("encoder", "bert_base", list(ENCODERS), "Shape of the encoder.")
flags.DEFINE_enum("method", "adapters", list(METHODS), "Transfer method.")
flags.DEFINE_list("steps", list(STEPS), "Of train, eval and predict.")
flags.DEFINE_integer("length", 128, "Tokens in a sequence.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Texts in a batch.", lower_bound=1)
flags.DEFINE_integer(
    "rows", None, "Rows that they share; without, each has its own.", lower_bound=1
)
flags.DEFINE_integer("adapter_size", 64, "The bottleneck's width.", lower_bound=1)
flags.DEFINE_string("adapter", "{}", "Further settings of an AdapterConfig, as a JSON object.")
flags.DEFINE_integer("top_layers", 4, "Blocks that the method top_layers trains.")
flags.DEFINE_string("output_dir", None, "Gets <step>.mlir for each step.", required=True)
flags.DEFINE_bool("names", False, "Tell of each operation what it is in TensorFlow's graph.")


def main(argv: Sequence[str]) -> None:
    """Builds the model and writes each step."""
    del argv
    insertion = None
    if FLAGS.method == "adapters":
        insertion = AdapterConfig(**{"size": FLAGS.adapter_size, **json.loads(FLAGS.adapter)})
    top_layers = FLAGS.top_layers if FLAGS.method == "top_layers" else None
    method = Method.named(FLAGS.method, insertion, top_layers)
    encoder = networks.BertEncoderV2(
        **ENCODERS[FLAGS.encoder],
        inner_activation="gelu",
        output_range=None if insertion and insertion.needs_all_positions else 1,
    )
    packing = plan_packing(FLAGS.length, one_shape=True)
    model = build_model(encoder, method, packing.texts_per_row if FLAGS.rows else None)
    for step in FLAGS.steps:
        hlo = trace(model, step, FLAGS.batch_size, FLAGS.length, FLAGS.rows)
        program = for_tpu(hlo, FLAGS.names)
        pathlib.Path(FLAGS.output_dir, f"{step}.mlir").write_text(program, encoding="utf-8")


def build_model(
    encoder: tf_keras.layers.Layer, method: Method, texts_per_row: int | None = None
) -> tf_keras.Model:
    """Builds and compiles a classifier as `train.assembly` does, on random weights.

    Args:
      encoder: what it is built on.
      method: how it trains.
      texts_per_row: the most texts that share a row, if they do.

    Returns:
      The model, with the optimiser's slots.
    """
    model = build_classifier(encoder, _CLASSES, method=method)
    if texts_per_row:
        model = pack_classifier(model, encoder, texts_per_row)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compile_model(model, loss, learning_rate=1e-3, steps=10_000, seed=0)
    model.optimizer.build(model.trainable_variables)
    return model


def trace(
    model: tf_keras.Model, step: str, batch_size: int, length: int, rows: int | None = None
) -> bytes:
    """Returns a step as serialised HLO with its state as donated arguments.

    Args:
      model: compiled.
      step: `train`, `eval` or `predict`: the method that Keras's loop calls.
      batch_size: texts.
      length: tokens of each row.
      rows: that the texts share; without, each has its own.
    """
    inputs = {
        name: tf.zeros(
            (rows or batch_size, length) if tensor.shape.rank == 2 else batch_size, tf.int32
        )
        for name, tensor in model.input.items()
    }
    labels = tf.zeros((batch_size,), tf.int32)
    function, data = {
        "train": (model.train_step, (inputs, labels)),
        "eval": (model.test_step, (inputs, labels)),
        "predict": (model.predict_step, (inputs,)),
    }[step]
    compiled = tf.function(function, jit_compile=True)
    return compiled.experimental_get_compiler_ir(data)(stage="hlo_serialized")


def for_tpu(hlo: bytes, names: bool = False) -> str:
    """Converts HLO that TensorFlow made for a CPU to StableHLO as it makes it for a TPU.

    The two would differ in random operations, of which a step has none: see `train.fit.dropout`.

    Args:
      hlo: serialised.
      names: keep what each operation is in TensorFlow's graph, and source locations, which
        differ from run to run.

    Raises:
      ValueError: there is a random operation.
    """
    with mlir.make_ir_context():
        module = ir.Module.parse(jaxlib._jax.mlir.hlo_to_stablehlo(hlo))
        module.operation.attributes["sym_name"] = ir.StringAttr.get("step")
        operations = _operations(module, "mhlo.copy", "stablehlo.rng_bit_generator")
        if operations["stablehlo.rng_bit_generator"]:
            raise ValueError("the step has random operations, which a TPU's would not be")
        for copy in operations["mhlo.copy"]:
            copy.result.replace_all_uses_with(copy.operands[0])
            copy.erase()
        if not module.operation.verify():
            raise ValueError("the rewritten StableHLO is not valid")
        return module.operation.get_asm(enable_debug_info=names)


def _operations(module: ir.Module, *names: str) -> dict[str, list[ir.Operation]]:
    """Returns a module's operations of some kinds, by kind."""
    found = {name: [] for name in names}

    def visit(operation: ir.Operation) -> ir.WalkResult:
        if operation.name in found:
            found[operation.name].append(operation.operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return found


if __name__ == "__main__":
    tf_keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    app.run(main)
