import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from keras_adapters.converters.load import load_encoder
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.objectives.model import build_classifier
from train.objectives.text.export import export_text_model

LABELS = ("no", "yes", "é maybe")
TEXTS = ["A first sentence.", "", "another one, 東京!"]
# Runs where nothing of this project can be imported.
PROGRAM = """
import importlib.util, sys
import tensorflow as tf, tensorflow_text
sys.path[:] = [entry for entry in sys.path if entry not in ("", {root!r})]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
for name in ("keras_adapters", "train"):
    sys.modules[name] = None
model = tf.saved_model.load({folder!r})
outputs = model.signatures["serving_default"](text=tf.constant({texts!r}))
for label, row in zip(outputs["label"].numpy(), outputs["probabilities"].numpy()):
    print(label.decode(), *map(repr, row.tolist()), sep="|")
"""


@pytest.fixture
def classifier(minilm):
    tf_keras.utils.set_random_seed(0)
    encoder = load_encoder(minilm.checkpoint)
    model = build_classifier(encoder, 3, Method(AdapterConfig(4, init_stddev=0.1)))
    preprocess = BertPreprocessor(minilm.vocab_file, lower_case=True, seq_length=16)
    return model, preprocess


def expected_probabilities(model, preprocess, *columns):
    return tf.nn.softmax(model(preprocess([tf.constant(c) for c in columns]))).numpy()


def test_another_process_without_this_project_gives_the_same_numbers(classifier, tmp_path):
    folder = tmp_path / "saved_model"
    export_text_model(folder, *classifier, LABELS)
    root = os.path.dirname(os.path.dirname(os.path.abspath(sys.modules["train"].__file__)))
    program = PROGRAM.format(root=root, folder=str(folder), texts=TEXTS)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": "", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines()]
    expected = expected_probabilities(*classifier, TEXTS)
    found = np.array([[float(value) for value in row[1:]] for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert [row[0] for row in rows] == [LABELS[index] for index in expected.argmax(axis=1)]


def test_signatures_at_any_batch_size(classifier, tmp_path):
    model, preprocess = classifier
    export_text_model(tmp_path / "saved_model", model, preprocess, LABELS)
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    assert set(loaded.signatures) == {"serving_default", "tokens"}
    for count in (0, 1, 2, 7):
        texts = tf.constant([f"text number {index}" for index in range(count)], tf.string)
        by_text = loaded.signatures["serving_default"](text=texts)
        by_tokens = loaded.signatures["tokens"](**preprocess([texts]))
        assert set(by_text) == {"label", "probabilities", "labels"}
        assert by_text["probabilities"].shape == by_text["labels"].shape == (count, 3)
        assert (by_text["label"].shape, by_text["label"].dtype) == ((count,), tf.string)
        for row in by_text["labels"].numpy():
            assert [name.decode() for name in row] == list(LABELS)
        np.testing.assert_allclose(
            by_tokens["probabilities"], expected_probabilities(model, preprocess, texts), atol=1e-6
        )
        # One is trimmed, the other padded to the length that the model was trained with.
        np.testing.assert_allclose(by_text["probabilities"], by_tokens["probabilities"], atol=1e-6)
        for name in ("label", "labels"):
            np.testing.assert_array_equal(by_text[name], by_tokens[name])


def test_tokens_need_no_padding_to_the_training_length(classifier, tmp_path):
    model, preprocess = classifier
    export_text_model(tmp_path / "saved_model", model, preprocess, LABELS)
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    inputs = preprocess([tf.constant(["short"])])
    cut = {name: tensor[:, :3] for name, tensor in inputs.items()}
    first, second = (loaded.signatures["tokens"](**tokens) for tokens in (inputs, cut))
    np.testing.assert_allclose(first["probabilities"], second["probabilities"], atol=1e-6)


def test_a_task_of_pairs(classifier, tmp_path):
    export_text_model(tmp_path / "saved_model", *classifier, LABELS, text_columns=2)
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    first, second = ["a question"], ["its answer"]
    outputs = loaded.signatures["serving_default"](
        text=tf.constant(first), text_pair=tf.constant(second)
    )
    expected = expected_probabilities(*classifier, first, second)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)
    assert np.abs(expected - expected_probabilities(*classifier, second, first)).max() > 1e-6


def test_values_of_pairs_at_any_batch_size(small_encoder, tmp_path):
    model = build_classifier(small_encoder(), 1, Method.named("full"))
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"]))
    preprocess = BertPreprocessor(tmp_path / "vocab.txt", lower_case=True, seq_length=16)
    export_text_model(tmp_path / "saved_model", model, preprocess, (), text_columns=2)
    signatures = tf.saved_model.load(str(tmp_path / "saved_model")).signatures
    for first, second in ([], []), (["a"], ["b"]), (["", "a", "", "\u200b"], ["", "", "b", "\0"]):
        columns = [tf.constant(column, tf.string) for column in (first, second)]
        outputs = signatures["serving_default"](text=columns[0], text_pair=columns[1])
        assert (outputs["value"].shape, outputs["value"].dtype) == ((len(first),), tf.float32)
        np.testing.assert_allclose(outputs["value"], model(preprocess(columns))[:, 0], atol=1e-6)
    for first, second in (["a"], ["a", "b"]), (["a", "b"], ["a"]), ([], ["a"]), (["a"], []):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="as many of `text_pair` as of `te"
        ):
            signatures["serving_default"](
                text=tf.constant(first, tf.string), text_pair=tf.constant(second, tf.string)
            )
