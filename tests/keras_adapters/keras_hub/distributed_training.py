"""Trains an adapted BERT on one device, on two, and with its base in parts on two.

`test_distribution` runs it, in a process that has two virtual CPU devices:

    python distributed_training.py FOLDER

The folder gets `NAME.npz` of what each training gave and `NAME`, its adapter.
"""

import pathlib
import sys

import jax
import keras
import keras_hub
import numpy as np

import keras_adapters as ka

HIDDEN, WORDS, CLASSES, TEXTS, LENGTH, STEPS = 16, 50, 3, 24, 12, 3


def distributions():
    """Returns the distributions by name; None is one device."""
    devices = keras.distribution.list_devices("cpu")
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), devices)
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[r".*/(query|key|value)/kernel"] = (None, "model", None)
    layouts[r".*/attention_output/kernel"] = ("model", None, None)
    layouts[r".*/feedforward_intermediate_dense/kernel"] = (None, "model")
    layouts[r".*/feedforward_output_dense/kernel"] = ("model", None)
    layouts[r"(.*/)?token_embedding/embeddings"] = (None, "model")
    return {
        "one": None,
        "data": keras.distribution.DataParallel(devices=devices),
        "sharded": keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch"),
    }


def build():
    """Returns a backbone, adapted, and a compiled classifier on it."""
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=WORDS, num_layers=1, num_heads=2, hidden_dim=HIDDEN,
        intermediate_dim=2 * HIDDEN, max_sequence_length=LENGTH, dropout=0.1,
    )  # fmt: skip
    ka.adapt(backbone, ka.AdapterConfig(4, init_stddev=0.1))
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=CLASSES)
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return backbone, model


def data():
    """Returns inputs and labels."""
    random = np.random.default_rng(0)
    words = random.integers(1, WORDS, (TEXTS, LENGTH))
    mask = np.arange(LENGTH) < random.integers(3, LENGTH + 1, (TEXTS, 1))
    inputs = {"token_ids": words, "padding_mask": mask, "segment_ids": np.zeros_like(words)}
    return inputs, words[:, 0] % CLASSES


def parts(variables):
    """Returns the share of each variable that one device holds."""
    return [v.value.addressable_shards[0].data.size / v.value.size for v in variables]


def train(name, folder):
    """Trains, and writes what that gave."""
    backbone, model = build()
    frozen = [v for v in backbone.non_trainable_variables if "seed" not in v.path]
    before = [variable.numpy() for variable in frozen]
    inputs, labels = data()
    history = model.fit(
        inputs, labels, batch_size=TEXTS // STEPS, epochs=2, shuffle=False, verbose=0
    )
    ka.save_adapter(folder / name, model, backbone)
    _, other = build()
    ka.load_adapter(folder / name, other, other.backbone)
    both = zip(model.weights, other.weights, strict=True)
    np.savez(
        folder / f"{name}.npz",
        losses=history.history["loss"],
        reloaded=[np.array_equal(a.numpy(), b.numpy()) for a, b in both],
        unchanged=[np.array_equal(a, b.numpy()) for a, b in zip(before, frozen, strict=True)],
        frozen_parts=parts(frozen),
        trained_parts=parts(model.trainable_variables),
        reloaded_parts=parts(other.trainable_variables),
        **{f"trained/{v.path}": v.numpy() for v in model.trainable_variables},
    )


def main(folder):
    """Trains on each, one after the other."""
    assert jax.device_count() == 2
    for name, distribution in distributions().items():
        keras.distribution.set_distribution(distribution)
        train(name, folder)
        keras.distribution.set_distribution(None)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
