"""One SavedModel for the tasks of several runs."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_adapters.adapter_file import read_adapter, write_adapter
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train import bundle
from train.classify import Classifier

# Method, labels, columns, pooling and length.
RUNS = {
    "topics": (AdapterConfig(4), ("a", "b", "é"), 1, "mean", 12),
    "pairs": (AdapterConfig(2, layers=(1,)), ("no", "yes"), 2, "pooler", 9),
    "stars": (AdapterConfig(3, places=("feed_forward",)), (), 1, "mean", 12),
    "alike": ("layer_norm", (), 2, "pooler", 7),
}
TEXTS = ["w1 w2 w3", "", "w5 w6 w7 w8 w9 w10 w11 w12 w13 w14", "w2 unknown! w3", "w0"]
PAIRS = ["w9", "w4 w5 w6 w7 w8 w9 w20 w21", "", "w1 w2", "w3 w3 w3"]
# Runs where nothing of this project can be imported.
PROGRAM = """
import sys
import numpy as np, tensorflow as tf, tensorflow_text
sys.path[:] = [entry for entry in sys.path if entry not in ("", {root!r})]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
for name in ("keras_adapters", "train"):
    sys.modules[name] = None
model = tf.saved_model.load({folder!r})
texts, pairs, tasks = {inputs!r}
answer = model.signatures["serving_default"]
answer(text=tf.constant(texts[:1]), text_pair=tf.constant(pairs[:1]), task=tf.constant(tasks[:1]))
outputs = answer(
    text=tf.constant(texts), text_pair=tf.constant(pairs), task=tf.constant(tasks)
)
np.savez({answers!r}, **{{name: value.numpy() for name, value in outputs.items()}})
graph = tf.compat.v1.Graph()
with tf.compat.v1.Session(graph=graph) as session:  # As a server does it.
    loaded = tf.compat.v1.saved_model.load(session, ["serve"], {folder!r})
    signature = loaded.signature_def["serving_default"]
    feed = dict(text=texts, text_pair=pairs, task=tasks)
    feed = {{signature.inputs[name].name: value for name, value in feed.items()}}
    value = session.run(signature.outputs["probabilities"].name, feed)
    np.testing.assert_allclose(value, outputs["probabilities"], atol=1e-6)
    names = session.run(loaded.signature_def["tasks"].outputs["task"].name)
    print(*sorted(name.decode() for name in names))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_tiny_folder):
    """A folder with an encoder, and the runs: what they leave of it."""
    import tf_keras

    from keras_adapters.converters.load import load_encoder
    from keras_adapters.preprocessor import BertPreprocessor
    from keras_adapters.saving import save_adapter
    from train.encoders.find import find_encoder
    from train.objectives.model import build_classifier
    from train.objectives.text.export import export_text_model

    folder = tmp_path_factory.mktemp("bundle")
    files = find_encoder(make_tiny_folder(folder / "tiny"))
    vocabulary = hashlib.sha256(files.vocab_file.read_bytes()).hexdigest()
    random = np.random.default_rng(0)
    for name, (method, labels, columns, pooling, length) in RUNS.items():
        tf_keras.utils.set_random_seed(len(name))
        encoder = load_encoder(files.checkpoint, output_range=1 if pooling == "pooler" else None)
        outputs = max(1, len(labels))
        model = build_classifier(encoder, outputs, Method.of(method), pooling=pooling)
        for variable in model.trainable_variables:
            variable.assign_add(0.5 * random.normal(size=variable.shape))
        metadata = {
            "task": name,
            "encoder": str(folder / "tiny"),
            "pooling": pooling,
            "preprocessing": {
                "max_seq_length": length,
                "lower_case": files.lower_case,
                "vocabulary": vocabulary,
            },
            "form": {
                "kind": "classification" if labels else "regression",
                "columns": columns,
            },
            "labels": list(labels),
        }
        save_adapter(folder / name / "adapter", model, encoder, metadata)
        preprocess = BertPreprocessor(files.vocab_file, files.lower_case, length)
        export_text_model(folder / name / "saved_model", model, preprocess, labels, columns)
    return folder


@pytest.fixture(scope="module")
def make(run_command):
    def make(place, *arguments):
        return run_command("-m", "train.bundle", *arguments, cwd=place)

    return make


@pytest.fixture(scope="module")
def made(place, make):
    done = make(place, f"--runs={','.join(RUNS)}", "--output_dir=bundle")
    assert done.returncode == 0, done.err
    assert "topics: 3 classes, from topics" in done.out
    assert "stars: a value, from stars" in done.out
    return place / "bundle" / "saved_model"


@pytest.fixture(scope="module")
def signature(made):
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    model = tf.saved_model.load(str(made))
    serve = model.signatures["serving_default"]

    def ask(texts, pairs, tasks):
        inputs = {"text": texts, "text_pair": pairs, "task": tasks}
        found = serve(**{name: tf.constant(value, tf.string) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}

    ask.model = model
    return ask


def mixed():
    rows = [
        (t, p if RUNS[n][2] == 2 else "", n)
        for t, p in zip(TEXTS, PAIRS, strict=True)
        for n in RUNS
    ]
    rows = [rows[index] for index in np.random.default_rng(0).permutation(len(rows))]
    return [list(column) for column in zip(*rows, strict=True)]


def assert_as_single(place, found, texts, pairs, tasks):
    import tensorflow as tf

    for name, (_, labels, columns, *_) in RUNS.items():
        rows = [index for index, task in enumerate(tasks) if task == name]
        given = {"text": texts, "text_pair": pairs}
        given = {k: tf.constant([given[k][row] for row in rows]) for k in [*given][:columns]}
        model = tf.saved_model.load(str(place / name / "saved_model"))
        expected = model.signatures["serving_default"](**given)
        count = len(labels)
        assert not found["probabilities"][rows, count:].any()
        assert set(found["labels"][rows, count:].ravel()) <= {b""}
        if labels:
            for key in ("probabilities", "labels"):
                value = found[key][rows, :count]
                if key == "labels":
                    assert value.tolist() == expected[key].numpy().tolist()
                else:
                    np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-5)
            assert found["label"][rows].tolist() == expected["label"].numpy().tolist()
            assert np.isnan(found["value"][rows]).all()
        else:
            np.testing.assert_allclose(found["value"][rows], expected["value"], rtol=0, atol=1e-5)
            assert set(found["label"][rows]) == {b""}


def test_each_row_is_answered_as_by_its_own_saved_model(place, signature):
    rows = mixed()
    found = signature(*rows)
    shapes = {name: value.shape for name, value in found.items()}
    assert shapes == {
        "label": (20,),
        "probabilities": (20, 3),
        "labels": (20, 3),
        "value": (20,),
    }
    assert_as_single(place, found, *rows)


@pytest.mark.parametrize("frozen", ["0", "1"])  # As a process that only serves has it.
def test_another_process_without_this_project(frozen, place, made, signature, tmp_path):
    rows = mixed()
    program = PROGRAM.format(
        root=os.path.dirname(os.path.dirname(os.path.abspath(sys.modules["train"].__file__))),
        folder=str(made),
        inputs=rows,
        answers=str(tmp_path / "answers.npz"),
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        encoding="utf-8",
        env={
            **os.environ,
            "PYTHONPATH": "",
            "PYTHONIOENCODING": "utf-8",
            "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": frozen,
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(RUNS)
    answers = np.load(tmp_path / "answers.npz", allow_pickle=True)
    here = signature(*rows)
    np.testing.assert_allclose(answers["probabilities"], here["probabilities"], atol=1e-6)
    assert answers["label"].tolist() == here["label"].tolist()


def test_the_signatures(signature):
    signatures = signature.model.signatures
    assert set(signatures) == {"serving_default", "tasks"}
    assert sorted(signatures["tasks"]()["task"].numpy()) == sorted(n.encode() for n in RUNS)
    empty = signature([], [], [])
    assert [value.shape[0] for value in empty.values()] == [0] * 4


@pytest.mark.parametrize(
    ("texts", "pairs", "tasks", "message"),
    [
        (["w1", "w2"], ["", ""], ["topics", "nonsense"], "`task`.*nonsense"),
        (["w1"], [""], [""], "`task` must name tasks"),
        (["w1"], [""], ["Topics"], "Topics"),
        (["w1", "w1"], ["w2", "w2"], ["pairs", "topics"], "`text_pair`.*topics"),
        (["w1", "w2"], ["", ""], ["topics"], "as many of `task`"),
        (["w1", "w2"], [""], ["topics"] * 2, "as many of `text_pair`"),
    ],
)
def test_what_is_not_answered(signature, texts, pairs, tasks, message):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signature(texts, pairs, tasks)


def test_classify_asks_one_task_of_a_bundle(place, made, signature):
    def answer(task, *texts):
        model = Classifier(str(made), task)
        rows, wrong = model.split(texts)
        return model.answer(rows), wrong

    found = signature(["w1 w2"] * 3, ["", "", "w3"], ["topics", "stars", "pairs"])
    label, best = found["label"], found["probabilities"].max(axis=1)
    expected = b"%s\t%.3f\tw1 w2" % (label[0], best[0])
    assert answer("topics", b"w1 w2") == ([expected], None)
    assert answer("stars", b"w1 w2") == ([b"%.3f\tw1 w2" % found["value"][1]], None)
    expected = b"%s\t%.3f\tw1 w2\tw3" % (label[2], best[2])
    assert answer("pairs", b"w1 w2\tw3") == ([expected], None)
    with pytest.raises(ValueError, match="`text_pair` must be empty"):
        answer("topics", b"w1\tw2")
    for task in (None, "nonsense"):
        with pytest.raises(ValueError, match=r"--task must say which task .*: alike, pairs, stars"):
            Classifier(str(made), task)
    with pytest.raises(ValueError, match="--task=topics is for bundles"):
        Classifier(str(place / "topics" / "saved_model"), "topics")


def test_weights_are_variables_and_not_constants(made, signature):
    graph = (made / "saved_model.pb").stat().st_size
    weights = (made / "variables" / "variables.data-00000-of-00001").stat().st_size
    held = sum(np.prod(v.shape) * 4 for v in signature.model.variables)
    assert held > 20_000
    assert weights >= held
    from tensorflow.core.protobuf import saved_model_pb2

    read = saved_model_pb2.SavedModel.FromString((made / "saved_model.pb").read_bytes())
    graph = read.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    floats = [n.attr["value"].tensor for n in nodes if n.op == "Const"]
    assert max(t.ByteSize() for t in floats if t.dtype == 1) < 1000


def altered(place, tmp_path, name, run="topics", **metadata):
    """A copy of a run whose metadata, or more, are others."""
    adapter = read_adapter(place / run / "adapter")
    changes = {key: metadata.pop(key) for key in ("method", "base") if key in metadata}
    told = {**adapter.metadata, **metadata}
    told = {key: value for key, value in told.items() if value is not None}
    write_adapter(
        tmp_path / name / "adapter", dataclasses.replace(adapter, metadata=told, **changes)
    )
    return str(tmp_path / name)


def run(place, name):
    return str(place / name)


def test_runs_that_cannot_share_a_bundle(place, tmp_path):
    adapter = read_adapter(place / "topics/adapter")
    told = adapter.metadata["preprocessing"]
    base = dataclasses.replace(adapter.base, architecture={"family": "other"})
    for name, changes, message in (
        ("base", {"base": base}, "different bases(.|\n)*family"),
        ("cased", {"preprocessing": {**told, "lower_case": False}}, "`lower_case` is True and"),
        ("vocabulary", {"preprocessing": {**told, "vocabulary": "0"}}, "`vocabulary` is"),
        ("relu", {"method": Method.of(AdapterConfig(4, activation="relu"))}, "activation is"),
    ):
        other = altered(place, tmp_path, name, task=name, **changes)
        for runs in ([run(place, "topics"), other], [other, run(place, "topics")]):
            with pytest.raises(ValueError, match=r"--runs: .* cannot share a bundle") as error:
                bundle.check_together(bundle.read_runs(runs, None))
            if runs[1] == other:
                assert error.match(message)


def test_runs_that_cannot_be_bundled(place, tmp_path):
    adapter = read_adapter(place / "topics/adapter")
    for name, changes, message in (
        ("full", {"method": Method(None, "all")}, "method 'full' trains all of the base"),
        ("spans", {"form": {"kind": "spans", "columns": 2}, "pooling": None}, "kind 'spans'"),
        ("old", {"preprocessing": None}, "an earlier version"),
        ("labels", {"labels": ["a", "b"]}, "a label for each output"),
        ("columns", {"form": {"kind": "classification"}}, "do not say its task, texts"),
        ("pooling", {"pooling": "max"}, "length, pooling"),
    ):
        with pytest.raises(ValueError, match=message):
            bundle.read_runs([altered(place, tmp_path, name, **changes)], None)
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(OSError, match="has not finished"):
        bundle.read_runs([str(tmp_path / "unfinished")], None)
    damaged = tmp_path / "damaged" / "adapter"
    shutil.copytree(place / "topics/adapter", damaged)
    (damaged / "adapter.safetensors").write_bytes(b"x" * 99)
    with pytest.raises(ValueError, match="damaged"):
        bundle.read_runs([str(damaged.parent)], None)
    assert adapter.metadata["task"] == "topics"


def test_names(place, tmp_path):
    again = altered(place, tmp_path, "again")
    topics, stars = run(place, "topics"), run(place, "stars")

    def named(runs, names=None):
        return [each.name for each in bundle.read_runs(runs, names)]

    assert named([topics, stars]) == ["topics", "stars"]
    assert named([topics, stars, again]) == ["topics", "stars", "again"]
    assert named([f"{topics}/adapter"]) == ["topics"]
    assert named([topics, again], ["x", "y"]) == ["x", "y"]
    shutil.copytree(again, tmp_path / "b" / "topics")
    with pytest.raises(ValueError, match="give --names"):
        named([topics, str(tmp_path / "b" / "topics")])
    for runs, names, message in (
        ([topics, stars], ["x", "x"], "a name of its own"),
        ([topics, stars], ["x", ""], "a name of its own"),
        ([topics, stars], ["x"], "as many as --runs"),
        ([topics, topics], None, "a run twice"),
        ([], None, "at least one folder"),
        ([""], None, "at least one folder"),
    ):
        with pytest.raises(ValueError, match=message):
            named(runs, names)


def test_the_precision_is_the_runs(place, tmp_path):
    bundled = bundle.read_runs([run(place, "topics"), run(place, "stars")], None)
    assert bundle.common_precision(bundled) == "float32"
    folders = [altered(place, tmp_path, name) for name in ("one", "two")]
    for folder, precision in zip(folders, ("bfloat16", "float32"), strict=True):
        with open(f"{folder}/config.json", "w") as file:
            json.dump({"fit": {"precision": precision}}, file)
    assert bundle.common_precision(bundle.read_runs(folders[:1], None)) == "bfloat16"
    with pytest.raises(ValueError, match=r"--precision must say .*one in bfloat16, .*two in"):
        bundle.common_precision(bundle.read_runs(folders, None))


def test_the_room_is_what_all_fit_in(place):
    bundled = bundle.read_runs([run(place, name) for name in RUNS], None)
    assert bundle.room_for(bundled) == AdapterConfig(4)
    (pairs, stars) = (each for each in bundled if each.name in ("pairs", "stars"))
    assert bundle.room_for([pairs]) == AdapterConfig(2, layers=(1,))
    assert bundle.room_for([stars]) == AdapterConfig(3, places=("feed_forward",))
    assert bundle.room_for([bundled[-1]]) is None
    assert math.isclose(bundled[0].outputs, 3)


def test_a_wrong_flag_is_told_at_once_and_changes_nothing(place, make, made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    (place / "file").write_text("x")
    for flags, message in (
        (["--runs=topics,gone", "--output_dir=bundle"], "gone is not a folder"),
        (["--runs=topics", "--output_dir=file"], "--output_dir=file is a file"),
        (["--runs=topics", "--output_dir=bundle", "more"], "unexpected arguments"),
        (["--runs=topics", "--output_dir=bundle", "--encoder=gone"], "--encoder=gone"),
    ):
        done = make(place, *flags)
        assert done.returncode == 1
        assert message in done.err
        assert "Traceback" not in done.err
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
