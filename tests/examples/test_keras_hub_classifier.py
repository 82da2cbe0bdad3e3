"""The example that people copy: its splits, its files, and what it exports."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf
import tf_keras

import keras_adapters as ka
from train.tasks.packaged import read

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "keras_hub_classifier.py"
LENGTH = 16


def test_the_splits_are_those_of_the_command():
    spec = importlib.util.spec_from_file_location("keras_hub_classifier", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.FLAGS(["example"])
    task = read("reuters-r8")
    for split in ("train", "dev", "test"):
        texts, labels = example.read(split)
        examples = getattr(task, split)
        assert list(examples.columns[0]) == texts
        assert [task.label_names[index] for index in examples.labels] == labels


def test_what_it_exports_answers_as_its_adapter_elsewhere(minilm, tmp_path):
    flags = ["--limit=64", "--epochs=1", f"--sequence_length={LENGTH}", f"--output_dir={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["KERAS_BACKEND"] = keras.backend.backend()
    command = [sys.executable, EXAMPLE, *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"test accuracy \d+\.\d\d, loss", done.stdout)

    encoder = ka.load_encoder(minilm.checkpoint)
    states = encoder(encoder.inputs)["sequence_output"]
    mean = tf_keras.layers.GlobalAveragePooling1D(name="mean")
    pooled = mean(states, mask=encoder.inputs["input_mask"])
    names = ka.read_metadata(tmp_path / "adapter")["labels"]
    logits = tf_keras.layers.Dense(len(names), name="logits")(pooled)
    model = tf_keras.Model(encoder.inputs, logits)
    ka.load_adapter(tmp_path / "adapter", model, encoder)
    texts = tf.constant(["net profit rose", "opec ministers agreed to cut crude output"])
    inputs = ka.BertPreprocessor(minilm.vocab_file, True, LENGTH)([texts])
    np.testing.assert_allclose(exported(tmp_path, inputs), model(inputs), rtol=0, atol=1e-4)


def exported(folder, inputs):
    """What the exported model answers, a SavedModel or Keras's own."""
    names = {"token_ids": "word_ids", "padding_mask": "mask", "segment_ids": "type_ids"}
    inputs = {ours: inputs[f"input_{name}"] for ours, name in names.items()}
    if keras.backend.backend() != "torch":
        model = tf.saved_model.load(folder / "saved_model")  # Its variables live as long as it.
        return model.serve(inputs)
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    values = {name: value.numpy() for name, value in inputs.items()}
    return keras.ops.convert_to_numpy(model(values, training=False))
