"""The example that people copy: its splits, its files, and what it exports."""

import json
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


# In a process of its own: the example's flags are those of other commands too.
READ = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("example", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
example.FLAGS(["example"])
print(json.dumps({split: example.read(split) for split in ("train", "dev", "test")}))
"""


def run(*command):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["KERAS_BACKEND"] = keras.backend.backend()
    command = [sys.executable, *map(str, command)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_splits_are_those_of_the_command():
    found = json.loads(run("-c", READ, EXAMPLE).splitlines()[-1])
    task = read("reuters-r8")
    for split, (texts, labels) in found.items():
        examples = getattr(task, split)
        assert list(examples.columns[0]) == texts
        assert [task.label_names[index] for index in examples.labels] == labels


def test_what_it_exports_answers_as_its_adapter_elsewhere(minilm, tmp_path):
    flags = ["--limit=64", "--epochs=1", f"--sequence_length={LENGTH}", f"--output_dir={tmp_path}"]
    told = run(EXAMPLE, *flags)
    assert re.search(r"test accuracy \d+\.\d\d, loss", told)

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
