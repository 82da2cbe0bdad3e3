"""Writes the step of `fit` of one adapted KerasHub model, as JAX hands it to a TPU's compiler.

    python -m benchmarks.jax_tpu_steps --model=bert_base --output=train.mlir

A process of its own for `benchmarks.jax_tpu_compile`: it has as many virtual CPU devices as there
are TPUs, and builds the model under `keras.distribution` on them, so that each variable has the
layout that Keras gives it. The step is the function that Keras's trainer makes for `fit`. Only
the variables have no values, which nothing of this reads, and which would take the memory of all
devices together.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from benchmarks.tpu_grid import DISTRIBUTIONS, KERAS_HUB_METHODS, KERAS_HUB_MODELS

FLAGS = flags.FLAGS
_CLASSES = 3
_MODEL_DEVICES = 2
# Megatron's cut (Shoeybi et al. 2019, arXiv 1909.08053) of the blocks' kernels, by their paths in
# KerasHub: attention by its heads, the feed-forward network by its inner units, and the words'
# vectors by their features. What no pattern matches is on every device whole.
_LAYOUTS = {
    r".*/(query|key|value)/kernel": (None, "model", None),
    r".*/(query|key|value)/bias": ("model", None),
    r".*/attention_output/kernel": ("model", None, None),
    r".*/feedforward_(intermediate|gate)_dense/kernel": (None, "model"),
    r".*/feedforward_(intermediate|gate)_dense/bias": ("model",),
    r".*/feedforward_output_dense/kernel": ("model", None),
    r"(.*/)?token_embedding/(embeddings|reverse_embeddings)": (None, "model"),
}

flags.DEFINE_enum(
    "model", "bert_base", list(KERAS_HUB_MODELS), "KerasHub's backbone and its shape."
)
flags.DEFINE_enum("method", "adapters", list(KERAS_HUB_METHODS), "Transfer method.")
flags.DEFINE_enum("distribution", "data", list(DISTRIBUTIONS), "Over the devices.")
flags.DEFINE_integer("devices", 4, "How many.", lower_bound=1)
flags.DEFINE_integer("length", 128, "Tokens in a sequence.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Texts per device.", lower_bound=1)
flags.DEFINE_integer("adapter_size", 64, "The adapters' width.", lower_bound=1)
flags.DEFINE_string("output", None, "File of the program.", required=True)


def main(argv: Sequence[str]) -> None:
    """Builds the model and writes its step; prints what trains as JSON."""
    del argv
    os.environ["KERAS_BACKEND"] = "jax"
    count = f"--xla_force_host_platform_device_count={FLAGS.devices}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {count}"
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    distribution = make_distribution(FLAGS.distribution)
    with distribution.scope():
        leave_out_values()
        model = build_model(FLAGS.model, FLAGS.method, FLAGS.adapter_size)
        data = make_data(model, distribution, FLAGS.devices * FLAGS.batch_size, FLAGS.length)
        program = lower(model, data)
    pathlib.Path(FLAGS.output).write_text(program, encoding="utf-8")
    print(json.dumps({"trained": sum(math.prod(v.shape) for v in model.trainable_variables)}))


def make_distribution(name: str) -> Any:
    """Returns the distribution over all devices.

    Args:
      name: `data`: each has all of the model, and its part of the texts. `sharded`: the texts
        are parted among pairs of devices, and the base's kernels within each pair.
    """
    import keras

    devices = keras.distribution.list_devices("cpu")
    if name == "data":
        return keras.distribution.DataParallel(devices=devices)
    shape = (len(devices) // _MODEL_DEVICES, _MODEL_DEVICES)
    layouts = keras.distribution.LayoutMap(
        keras.distribution.DeviceMesh(shape, ("batch", "model"), devices)
    )
    for path, axes in _LAYOUTS.items():
        layouts[path] = axes
    return keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")


def leave_out_values() -> None:
    """Gives variables that are made from now on a layout, and no value."""
    import keras

    def lay_out(variable: keras.Variable, initializer: Any) -> None:
        del initializer
        variable._value = None
        variable._initializer = keras.initializers.Zeros()  # For who reads it all the same.
        variable._initialize_layout()

    keras.Variable._initialize_with_initializer = lay_out


def build_model(name: str, method: str, adapter_size: int) -> Any:
    """Builds and compiles an adapted task of KerasHub: a classifier, or a language model.

    Args:
      name: a key of `KERAS_HUB_MODELS`.
      method: `adapters` or `full`.
      adapter_size: the adapters' width.
    """
    import keras
    import keras_hub

    from keras_adapters import AdapterConfig, adapt

    family, task, settings = KERAS_HUB_MODELS[name]
    backbone = getattr(keras_hub.models, f"{family}Backbone")(**settings)
    adapt(backbone, AdapterConfig(adapter_size) if method == "adapters" else method)
    classes = {"num_classes": _CLASSES} if task == "TextClassifier" else {}
    model = getattr(keras_hub.models, family + task)(backbone=backbone, **classes)
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3, global_clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    return model


def make_data(model: Any, distribution: Any, texts: int, length: int) -> tuple[Any, Any]:
    """Returns the shapes and layouts of a batch: the inputs by name, and the labels."""
    import jax

    def shape_of(*shape: int) -> jax.ShapeDtypeStruct:
        layout = distribution.get_data_layout(shape).backend_layout
        return jax.ShapeDtypeStruct(shape, "int32", sharding=layout)

    inputs = {name: shape_of(texts, length) for name in model.input}
    classifies = len(model.output.shape) == 2
    return inputs, shape_of(texts) if classifies else shape_of(texts, length)


def lower(model: Any, data: tuple[Any, Any]) -> str:
    """Returns the step of `fit` as StableHLO for TPUs, with its state as donated arguments.

    Args:
      model: compiled, of variables that have a layout.
      data: what stands for a batch.
    """
    import jax

    model._symbolic_build(data_batch=data)
    for variable in (*model.variables, *model.optimizer.variables, *model.metrics_variables):
        layout = variable._layout.backend_layout
        variable._value = jax.ShapeDtypeStruct(variable.shape, variable.dtype, sharding=layout)
    model._make_function = lambda step: step  # Else it would be behind a loop over batches.
    model.make_train_function(force=True)
    state = model._get_jax_state(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    traced = model.train_function.trace(state, data)
    return traced.lower(lowering_platforms=("tpu",)).as_text()


if __name__ == "__main__":
    app.run(main)
