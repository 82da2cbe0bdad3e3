"""What a run writes into its adapter, and starts from: `--init_adapter` and its neighbours."""

import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy

from keras_adapters.adapter_file import read_adapter

COMMON = ("--task=csv", "--epochs=1", "--batch_size=8", "--max_seq_length=16", "--export=false")
SMALL = "--adapter_size=2"


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_tiny_folder, write_tiny_data):
    folder = tmp_path_factory.mktemp("runs")
    make_tiny_folder(folder / "tiny")
    other = make_tiny_folder(folder / "other")
    weights = safetensors.numpy.load_file(other / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"] += 1
    safetensors.numpy.save_file(weights, other / "model.safetensors")
    write_tiny_data(folder / "train.csv", 120)
    text = (folder / "train.csv").read_text()
    (folder / "named.csv").write_text(text.replace(",1\n", ",one\n").replace(",0\n", ",zero\n"))
    return folder


@pytest.fixture(scope="module")
def runs(place, run_in_turn):
    """Runs, and what each printed; `first` is what the others start from."""
    commands = {
        "first": [SMALL],
        "frozen": [SMALL, "--train_layer_norm=false"],
        "again": [
            *("--init_adapter=first/adapter", "--learning_rate=1e-9", "--adapter_dtype=float16")
        ],
        "another": ["--init_adapter=first/adapter", "--train_file=named.csv"],
        "size": ["--adapter_size=3", "--init_adapter=first/adapter"],
        "gone": ["--init_adapter=gone"],
        "method": ["--method=layer_norm", "--init_adapter=first/adapter"],
        "base": ["--encoder=other", "--init_adapter=first/adapter"],
        "norms": ["--method=full", "--train_layer_norm=false"],
    }
    done = run_in_turn(
        *(
            [*COMMON, "--encoder=tiny", "--train_file=train.csv", f"--output_dir={name}", *flags]
            for name, flags in commands.items()
        ),
        cwd=place,
    )
    return dict(zip(commands, done, strict=True))


def test_an_adapter_says_all_that_it_takes_to_use_it(place, runs):
    assert runs["first"].error is None
    adapter = read_adapter(place / "first/adapter")
    metadata = dict(adapter.metadata)
    vocabulary = hashlib.sha256((place / "tiny/vocab.txt").read_bytes()).hexdigest()
    assert metadata.pop("preprocessing") == {
        "max_seq_length": 16,
        "lower_case": True,
        "vocabulary": vocabulary,
    }
    results = json.loads((place / "first/results.json").read_text())
    assert metadata.pop("metrics") == results["metrics"]
    assert metadata == {
        "task": "csv",
        "method": "adapters",
        "encoder": "tiny",
        "base_model": None,
        "pooling": "pooler",
        "form": {"kind": "classification", "columns": 1},
        "labels": ["0", "1"],
        "seed": 0,
    }
    assert adapter.base.architecture["family"] == "bert"
    assert set(adapter.versions) >= {"keras-adapters", "tensorflow"}
    card = (place / "first/adapter/README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert adapter.base.fingerprint in card


def test_norms_stay_the_bases_where_they_are_not_to_train(place, runs):
    frozen, full = (read_adapter(place / name / "adapter") for name in ("frozen", "first"))
    assert frozen.method.trains == "nothing"
    assert frozen.method.insertion == full.method.insertion
    assert set(full.tensors) - set(frozen.tensors) == {
        name for name in full.tensors if "layer_norm/" in name
    }


def test_starts_from_the_adapter_and_its_head_and_stores_half_of_the_bytes(place, runs):
    assert "Starting from the adapter in first/adapter, with its head" in runs["again"].out
    first, again = (read_adapter(place / name / "adapter") for name in ("first", "again"))
    assert (again.method, again.base) == (first.method, first.base)
    for name, value in first.tensors.items():
        np.testing.assert_allclose(again.tensors[name], value, rtol=1e-3, atol=1e-6, err_msg=name)
    stored = safetensors.numpy.load_file(place / "again/adapter/adapter.safetensors")
    assert {value.dtype.name for value in stored.values()} == {"float16"}


def test_another_tasks_head_is_new(place, runs):
    assert runs["another"].error is None
    assert "with a new head" in runs["another"].out
    assert read_adapter(place / "another/adapter").metadata["labels"] == ["one", "zero"]


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("size", ("--init_adapter=first/adapter holds AdapterConfig(size=2", "size=3")),
        ("gone", ("--init_adapter=gone cannot be read", "adapter.safetensors is missing")),
        ("method", ("--init_adapter=first/adapter holds AdapterConfig", "inserts other adapters")),
        ("base", ("another pretrained encoder", "layer_1/output/bias")),
        ("norms", ("--train_layer_norm=false goes with --method=adapters",)),
    ],
)
def test_what_does_not_fit_is_told_before_training(name, texts, place, runs):
    for text in texts:
        assert text in runs[name].error
    assert not (place / name / "adapter").exists()


def test_a_run_that_starts_from_another_adapter_is_another(place, runs, run_in_turn):
    flags = [*COMMON, "--encoder=tiny", "--train_file=train.csv", "--learning_rate=1e-9"]
    flags += ["--adapter_dtype=float16"]
    same, none, other = run_in_turn(
        [*flags, "--init_adapter=first/adapter/adapter.safetensors", "--output_dir=again"],
        [*flags, SMALL, "--output_dir=again"],
        [*flags, "--init_adapter=frozen/adapter", "--output_dir=again"],
        cwd=place,
    )
    assert "has finished before" in same.out
    for done in (none, other):
        assert "init_adapter: " in done.error
