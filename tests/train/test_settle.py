import dataclasses
import json
import pathlib

import numpy as np
import pytest

from keras_adapters.adapter_file import AdapterFile, write_adapter
from keras_adapters.fingerprint import Base
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS, Method
from train.config import RunConfig
from train.encoders.find import find_encoder
from train.settle import settle
from train.tasks.table import TASKS


def settled(task="reuters_r8", **settings):
    config = RunConfig.from_settings(task, **settings)
    return settle(config, find_encoder(config.model.encoder))


@pytest.fixture
def csv_files(tmp_path):
    """Settings of a task of one's own, with files that are there."""
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.csv").write_text("text,label\n")
    files = {f"{name}_file": str(tmp_path / f"{name}.csv") for name in ("train", "dev", "test")}
    return {"task": "csv", **files}


def test_nothing_is_left_open_but_what_devices_decide():
    config = settled()
    recipe = TASKS["reuters_r8"].recipe
    assert config.method == Method(AdapterConfig(recipe.adapter_size))
    assert (config.fit.learning_rate, config.fit.epochs) == (recipe.learning_rate, recipe.epochs)
    assert config.model.pooling == "mean"  # What the packaged encoder was pretrained for.
    assert (config.model.head_dropout, config.model.max_seq_length) == (0.1, 128)
    assert config.keep.output_dir == str(pathlib.Path("runs", "reuters_r8-adapters64-seed0"))


def test_settling_again_changes_nothing():
    config = settled(method="top_layers", top_layers=2)
    assert settle(config, find_encoder(config.model.encoder)) == config


@pytest.mark.parametrize("method", METHODS)
def test_learning_rate_is_by_method_unless_given(method, csv_files):
    settings = {**csv_files, "method": method}
    if method == "top_layers":
        settings["top_layers"] = 2
    assert settled(**settings).fit.learning_rate == METHODS[method].learning_rate
    assert settled(**settings, learning_rate=0.5).fit.learning_rate == 0.5
    assert (settled(**settings).method.insertion is not None) == (method == "adapters")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "reuters_r8-adapters64-seed0"),
        ({"adapter_size": 8, "seed": 3}, "reuters_r8-adapters8-seed3"),
        ({"method": "top_layers", "top_layers": 2}, "reuters_r8-top_layers2-seed0"),
        ({"method": "full"}, "reuters_r8-full-seed0"),
        (
            {"adapter_form": "parallel", "adapter_scale": "4"},
            "reuters_r8-adapters64_form-parallel_scale-4-seed0",
        ),
        (
            {"adapter_gate": True, "train_layer_norm": False},
            "reuters_r8-adapters64_gate-True_frozen_norms-seed0",
        ),
    ],
)
def test_default_output_dir_is_named_by_the_run(settings, name):
    assert settled(**settings).keep.output_dir == str(pathlib.Path("runs", name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "top_layers", "top_layers": 7}, "--top_layers does not fit .* be 1 to 6"),
        ({"adapter_layers": ["6"]}, r"--adapter_layers must be below .* 6 blocks. Received: .6"),
        ({"adapter_size": ["8", "4"]}, "--adapter_size must be .* 6 layers"),
        ({"max_seq_length": 2}, "--max_seq_length must be 3 to 512"),
        ({"max_seq_length": 513}, "--max_seq_length must be 3 to 512"),
        ({"task": "squad", "max_seq_length": 64}, "--max_seq_length must be 68 to 512"),
        ({"task": "squad", "pooling": "mean"}, "--pooling=mean goes with tasks"),
        ({"task": "squad_v2", "pooling": "pooler"}, "--pooling=pooler goes with tasks"),
        ({"task": "mrpc", "max_seq_length": 4}, "--max_seq_length must be 5"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_an_error_before_any_data_is_read(settings, message):
    with pytest.raises(ValueError, match=message):
        settled(**settings)


def test_adapters_in_blocks_that_the_encoder_lacks_are_an_error():
    config = RunConfig.from_settings("reuters_r8")
    config = dataclasses.replace(config, method=Method(AdapterConfig(4, layers=(2, 6))))
    with pytest.raises(ValueError, match=r"--method does not fit .* 6 blocks. Received: \[6\]"):
        settle(config, find_encoder(config.model.encoder))


def test_a_pair_of_columns_needs_more_tokens(csv_files):
    assert settled(**csv_files, text_columns=("a", "b"), max_seq_length=5)
    with pytest.raises(ValueError, match="--max_seq_length must be 5"):
        settled(**csv_files, text_columns=("a", "b"), max_seq_length=4)


def test_questions_have_defaults_of_their_own():
    config = settled("squad")
    assert (config.model.max_seq_length, config.model.head_dropout) == (384, 0.0)


@pytest.mark.parametrize("name", ["train_file", "dev_file", "test_file"])
def test_missing_file_is_an_error_that_names_its_flag(csv_files, name):
    with pytest.raises(FileNotFoundError, match=f"--{name}=gone.csv"):
        settled(**{**csv_files, name: "gone.csv"})


def test_missing_folder_is_an_error_that_names_its_flag(tmp_path):
    with pytest.raises(FileNotFoundError, match="--data_dir"):
        settled(data_dir=str(tmp_path / "none"))


@pytest.mark.parametrize("names", [("train_file", "dev_file"), ("dev_file", "test_file")])
def test_one_file_for_two_splits_is_an_error_however_it_is_spelt(csv_files, names):
    path = pathlib.Path(csv_files[names[0]])
    again = str(path.parent / ".." / path.parent.name / path.name)
    with pytest.raises(ValueError, match=f"--{names[0]} and --{names[1]}"):
        settled(**{**csv_files, names[1]: again})


def test_output_dir_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="--output_dir"):
        settled(output_dir=str(tmp_path / "out"))


def test_a_tasks_recipe_is_the_default_of_adapters():
    config, recipe = settled("rte"), TASKS["rte"].recipe
    assert (config.fit.learning_rate, config.fit.epochs) == (recipe.learning_rate, recipe.epochs)
    assert config.method == Method(AdapterConfig(recipe.adapter_size))
    given = settled("rte", learning_rate=1e-3, epochs=2, adapter_size=4)
    assert (given.fit.learning_rate, given.fit.epochs) == (1e-3, 2)
    assert given.method.insertion.size == 4
    full = settled("rte", method="full")
    assert (full.fit.learning_rate, full.fit.epochs) == (METHODS["full"].learning_rate, 3)


def test_a_recipe_may_have_a_rate_for_fine_tuning():
    for task, rate in (("reuters_r52", 1e-4), ("20_newsgroups", 2e-4)):
        assert settled(task, method="full").fit.learning_rate == rate
        assert settled(task, method="top_layers", top_layers=1).fit.learning_rate == rate
        norms = settled(task, method="layer_norm").fit.learning_rate
        assert norms == METHODS["layer_norm"].learning_rate


def test_a_recipe_of_one_encoder_is_not_for_others(make_tiny_folder, tmp_path):
    recipe = TASKS["reuters_r52"].recipe
    encoder = str(make_tiny_folder(tmp_path / "encoder"))
    rate = settled("reuters_r52", method="full", encoder=encoder).fit.learning_rate
    assert rate == METHODS["full"].learning_rate != recipe.full_learning_rate


def test_a_size_that_is_left_open_is_that_of_the_adapter_to_start_from(tmp_path):
    base = Base({"family": "bert"}, {"x": "0" * 64})
    method = Method(AdapterConfig(7), "nothing")
    write_adapter(tmp_path, AdapterFile(method, base, {"a": np.ones(1, np.float32)}))
    # What trains is for the flags to say, not for the file.
    assert settled(init_adapter=str(tmp_path)).method == Method(AdapterConfig(7))


def test_moving_statistics_go_with_one_worker(monkeypatch):
    workers = {"cluster": {"worker": ["localhost:1", "localhost:2"]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps({**workers, "task": {"type": "worker", "index": 0}}))
    assert settled(adapter_norm="layer")
    with pytest.raises(ValueError, match="--adapter_norm=batch goes with one worker"):
        settled(adapter_norm="batch")


def test_features_are_kept_in_the_users_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = str(tmp_path / "keras_adapters" / "features")
    assert settled(method="feature_based").keep.feature_cache == kept
    assert settled(method="feature_based", strategy="mirrored").keep.feature_cache == kept
    given = settled(method="feature_based", feature_cache="here")
    assert given.keep.feature_cache == "here"
    assert settle(given, find_encoder(given.model.encoder)) == given
    assert not list(tmp_path.iterdir())
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    kept = str(tmp_path / ".cache" / "keras_adapters" / "features")
    assert settled(method="feature_based").keep.feature_cache == kept


def test_features_are_not_kept_where_there_are_none_or_they_cannot_be(monkeypatch):
    for settings in (
        {},
        {"method": "layer_norm", "feature_cache": ""},
        {"method": "feature_based", "feature_cache": ""},
        {"method": "feature_based", "task": "squad"},
        {"method": "feature_based", "tpu": "local"},
    ):
        assert settled(**settings).keep.feature_cache == "", settings
    workers = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    assert settled(method="feature_based").keep.feature_cache == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "full"}, "--feature_cache=here goes with --method=feature_based, not full"),
        ({}, "goes with --method=feature_based, not adapters"),
        ({"method": "feature_based", "task": "squad"}, "one vector per text, not --task=squad"),
        ({"method": "feature_based", "tpu": "local"}, "one machine, not a TPU or several workers"),
    ],
    ids=str,
)
def test_keeping_features_that_cannot_be_is_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        settled(feature_cache="here", **settings)


def test_a_feature_cache_must_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--feature_cache must name a folder"):
        settled(method="feature_based", feature_cache=str(tmp_path / "file"))


def test_a_search_needs_no_encoder(csv_files, monkeypatch):
    config = RunConfig.from_settings(method="no_bert", seed=2, **csv_files)
    config = settle(config, None)
    assert config.keep.output_dir == str(pathlib.Path("runs", "csv-no_bert-seed2"))
    assert settle(config, None) == config
    monkeypatch.setattr("train.settle._OF_SEARCHES", ("numpy", "no_such_package"))
    with pytest.raises(ValueError, match="needs no_such_package: pip install"):
        settle(config, None)


def test_texts_share_rows_where_they_can():
    assert settled().fit.pack
    assert settled(method="full").fit.pack
    assert settled(adapter_norm="layer", adapter_form="parallel").fit.pack
    for settings in (
        {"pack": False},
        {"task": "squad"},
        {"method": "feature_based"},
        {"adapter_gate": True},
        {"adapter_norm": "batch"},
    ):
        assert settled(**settings).fit.pack is False, settings
    assert settled(method="feature_based", feature_cache="").fit.pack is False
    assert settled(method="feature_based", feature_cache="", pack=True).fit.pack


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "squad"}, "--pack goes with tasks whose head reads one vector per text"),
        ({"method": "feature_based"}, "--pack goes with .* give --feature_cache="),
        ({"adapter_gate": True}, "--pack goes with adapters without --adapter_gate"),
        ({"adapter_norm": "batch"}, "--pack goes with adapters without --adapter_norm=batch"),
    ],
    ids=str,
)
def test_texts_that_cannot_share_rows_are_an_error_where_they_should(settings, message):
    with pytest.raises(ValueError, match=message):
        settled(pack=True, **settings)
