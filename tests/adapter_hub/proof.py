"""Adapters go to the real `adapters` package and come from it, on real text, with equal logits.

They do from tf-models-official's encoder and from KerasHub's backbone, in whatever backend runs.

`make adapter-hub` runs it; the ordinary suite does not. The package needs torch, so it has an
environment of its own, which is made where `ADAPTER_HUB_VENV` says unless it is there.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
VENV = pathlib.Path(os.environ.get("ADAPTER_HUB_VENV", HERE.parents[1] / ".venv-adapter-hub"))
PACKAGES = ("torch==2.13.0", "adapters==1.3.0")  # In this order: adapters takes any torch.
STEPS, BATCH, TESTED = 40, 16, 48
LENGTHS = {"train": 64, "test": 128}
TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def theirs():
    """Runs `theirs.py` in the package's environment."""
    python = VENV / "bin" / "python"
    if not (VENV / ".made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        for package in PACKAGES:
            subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
        (VENV / ".made").touch()

    def run(*arguments):
        command = [python, HERE / "theirs.py", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stdout, end="")

    return run


@pytest.fixture(scope="session")
def reuters(minilm, tmp_path_factory):
    """Reuters-8 as both sides read it: the file of arrays, its path and the labels' names."""
    from keras_adapters.preprocessor import BertPreprocessor
    from train.tasks.packaged import read

    task = read("reuters-r8")
    arrays = {"labels": np.array(task.label_names)}
    for split, examples in (
        ("train", task.train.sample(STEPS * BATCH, seed=0)),
        ("test", task.test.sample(TESTED, seed=1)),
    ):
        prepare = BertPreprocessor(minilm.vocab_file, True, LENGTHS[split])
        found = prepare([examples.columns[0]])
        arrays |= {
            f"{split}_input_ids": found["input_word_ids"].numpy(),
            f"{split}_attention_mask": found["input_mask"].numpy(),
            f"{split}_token_type_ids": found["input_type_ids"].numpy(),
            f"{split}_labels": examples.labels,
        }
    lengths = arrays["test_attention_mask"].sum(axis=1)
    assert lengths.min() < 40
    assert lengths.max() == LENGTHS["test"]
    path = tmp_path_factory.mktemp("reuters") / "data.npz"
    np.savez(path, **arrays)
    return arrays, path, list(task.label_names)


@pytest.fixture(scope="session")
def trained_there(theirs, reuters, minilm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    theirs("train", minilm.folder, reuters[1], folder)
    return folder


def inputs(arrays, split):
    names = {"word_ids": "input_ids", "mask": "attention_mask", "type_ids": "token_type_ids"}
    return {f"input_{ours}": arrays[f"{split}_{name}"] for ours, name in names.items()}


def convert(*arguments):
    command = [sys.executable, "-m", "keras_adapters.convert", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def compare(what, ours, theirs):
    difference = float(np.abs(ours - theirs).max())
    print(f"{what}: logits to {np.abs(theirs).max():.2f}, largest difference {difference:.2e}")
    assert np.abs(theirs).max() > 0.5
    assert difference < TOLERANCE


@pytest.mark.parametrize("form", ["", "_safe"])
@pytest.mark.parametrize("name", ["two_layers", "pooler"])
def test_trained_there_same_here(name, form, trained_there, reuters, minilm, tmp_path):
    import tf_keras

    import keras_adapters as ka

    convert(trained_there / (name + form), tmp_path / "adapter", f"--base={minilm.folder}")
    encoder = ka.load_encoder(minilm.checkpoint)
    outputs = encoder(encoder.inputs)
    if name == "pooler":
        read = outputs["pooled_output"]
    else:
        first = outputs["sequence_output"][:, 0]
        read = tf_keras.layers.Dense(first.shape[-1], "tanh", name="dense")(first)
    labels = reuters[2]
    logits = tf_keras.layers.Dense(len(labels), name="logits")(read)
    model = tf_keras.Model(encoder.inputs, logits)
    metadata = ka.load_adapter(tmp_path / "adapter", model, encoder)
    assert metadata["labels"] == labels
    assert metadata["pooling"] == ("pooler" if name == "pooler" else "first")
    ours = model.predict(inputs(reuters[0], "test"), verbose=0)
    compare(f"trained there, {name}{form}", ours, np.load(trained_there / f"{name}.npy"))


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_trained_here_same_there(activation, theirs, reuters, minilm, tmp_path):
    import tf_keras

    import keras_adapters as ka
    from train.objectives.model import build_classifier

    arrays, path, labels = reuters
    tf_keras.utils.set_random_seed(0)
    encoder = ka.load_encoder(minilm.checkpoint)
    method = ka.Method(ka.AdapterConfig(size=13, activation=activation), trains="nothing")
    model = build_classifier(encoder, len(labels), method, pooling="pooler")
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.AdamW(3e-3), loss)
    model.fit(inputs(arrays, "train"), arrays["train_labels"], BATCH, verbose=0)
    metadata = {
        "task": "reuters_r8",
        "pooling": "pooler",
        "form": {"kind": "classification", "columns": 1},
        "labels": labels,
    }
    ka.save_adapter(tmp_path / "adapter", model, encoder, metadata)
    convert(tmp_path / "adapter", tmp_path / "hub")
    theirs("answer", minilm.folder, path, tmp_path / "hub", tmp_path / "answers")
    ours = model.predict(inputs(arrays, "test"), verbose=0)
    for form in ("default", "safe"):
        answers = np.load(tmp_path / "answers" / f"{form}.npy")
        compare(f"trained here, {activation}, loaded by the {form} call", ours, answers)


def hub_inputs(arrays, split):
    names = {
        "token_ids": "input_ids",
        "padding_mask": "attention_mask",
        "segment_ids": "token_type_ids",
    }
    return {ours: arrays[f"{split}_{name}"] for ours, name in names.items()}


def hub_classifier(minilm, classes, head="pooler", method=None):
    """The packaged encoder in KerasHub, adapted if a method is given, and a classifier on it."""
    import keras

    import keras_adapters as ka
    from keras_adapters.keras_hub import load_backbone

    keras.utils.set_random_seed(0)
    backbone = load_backbone(minilm.folder)
    if method is not None:
        ka.adapt(backbone, method)
    outputs = backbone(backbone.input)
    read = outputs["pooled_output"]
    if head == "two_layers":
        first = outputs["sequence_output"][:, 0]
        read = keras.layers.Dense(first.shape[-1], "tanh", name="dense")(first)
    logits = keras.layers.Dense(classes, name="logits")(read)
    return backbone, keras.Model(backbone.input, logits)


@pytest.mark.parametrize("name", ["two_layers", "pooler"])
def test_trained_there_same_in_keras_hub(name, trained_there, reuters, minilm, tmp_path):
    import keras_adapters as ka

    convert(trained_there / name, tmp_path / "adapter", f"--base={minilm.folder}")
    backbone, model = hub_classifier(minilm, len(reuters[2]), name)
    assert ka.load_adapter(tmp_path / "adapter", model, backbone)["labels"] == reuters[2]
    ours = model.predict(hub_inputs(reuters[0], "test"), verbose=0)
    compare(f"trained there, {name}, in KerasHub", ours, np.load(trained_there / f"{name}.npy"))


def test_trained_in_keras_hub_same_there_and_here(theirs, reuters, minilm, tmp_path):
    import keras
    import tf_keras

    import keras_adapters as ka

    arrays, path, labels = reuters
    method = ka.Method(ka.AdapterConfig(size=13, activation="gelu"), trains="nothing")
    backbone, model = hub_classifier(minilm, len(labels), method=method)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(3e-3), loss)
    model.fit(hub_inputs(arrays, "train"), arrays["train_labels"], BATCH, verbose=0)
    ours = model.predict(hub_inputs(arrays, "test"), verbose=0)
    metadata = {
        "pooling": "pooler",
        "form": {"kind": "classification", "columns": 1},
        "labels": labels,
    }
    ka.save_adapter(tmp_path / "adapter", model, backbone, metadata)
    convert(tmp_path / "adapter", tmp_path / "hub")
    theirs("answer", minilm.folder, path, tmp_path / "hub", tmp_path / "answers")
    answers = np.load(tmp_path / "answers" / "default.npy")
    compare("trained in KerasHub, in AdapterHub", ours, answers)

    encoder = ka.load_encoder(minilm.checkpoint)
    pooled = encoder(encoder.inputs)["pooled_output"]
    logits = tf_keras.layers.Dense(len(labels), name="logits")(pooled)
    model = tf_keras.Model(encoder.inputs, logits)
    ka.load_adapter(tmp_path / "adapter", model, encoder)
    official = model.predict(inputs(arrays, "test"), verbose=0)
    compare("trained in KerasHub, in tf-models-official", official, ours)


@pytest.mark.parametrize(
    "name", ["pickle", "safetensors", "bare", "spans", "old", "seq_bn", "par_bn", "gated"]
)
def test_exports_of_every_kind_load_there(name, theirs, fixtures, tmp_path):
    folder = fixtures / "adapter_hub"
    convert(folder / name, tmp_path / "adapter", f"--base={folder / 'encoder'}")
    convert(tmp_path / "adapter", tmp_path / "hub", "--name=other")
    inputs = folder / "expected.json"
    theirs("compute", folder / "encoder", inputs, tmp_path / "hub", tmp_path / "answers")
    expected = np.array(json.loads(inputs.read_text())["expected"][name])
    compare(f"{name}, here and back", np.load(tmp_path / "answers" / "computed.npy"), expected)
