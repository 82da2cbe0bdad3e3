import dataclasses
import json
import math

import pytest

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS, Method
from train.adapter_flags import ADAPTER_FLAGS
from train.config import RunConfig
from train.config_parts import DeviceConfig, FitConfig, KeepConfig, ModelConfig, SearchConfig
from train.encoders.find import DEFAULT
from train.tasks.files import DataFiles


def test_defaults():
    config = RunConfig("reuters_r8")
    assert config.method is None  # The recipe's.
    assert config.model == ModelConfig(DEFAULT, "auto", None, None)
    assert (config.fit.batch_size, config.fit.seed, config.fit.precision) == (32, 0, "float32")
    assert config.device.strategy == "auto"
    assert config.keep.export
    assert not config.keep.predict_test


def test_settings_go_to_their_parts():
    config = RunConfig.from_settings(
        "csv",
        adapter_size=8,
        train_file="train.csv",
        text_columns=("a", "b"),
        pooling="mean",
        epochs=5,
        strategy="mirrored",
        output_dir="out",
    )
    assert config.method == Method(AdapterConfig(8))
    assert config.files == DataFiles(train_file="train.csv", text_columns=("a", "b"))
    assert config.model == ModelConfig(pooling="mean")
    assert config.fit == FitConfig(epochs=5)
    assert config.device == DeviceConfig(strategy="mirrored")
    assert config.keep == KeepConfig(output_dir="out")


def test_a_setting_that_does_not_exist_is_an_error():
    with pytest.raises(TypeError, match="adapter_sise"):
        RunConfig.from_settings("reuters_r8", adapter_sise=8)


def test_its_constructor_reads_nothing(monkeypatch):
    monkeypatch.setattr("builtins.open", None)
    monkeypatch.setattr("pathlib.Path.stat", None)
    monkeypatch.setattr("pathlib.Path.open", None)
    assert RunConfig.from_settings("csv", train_file="gone.csv", encoder="gone", data_dir="gone")


def test_setting_names_are_those_of_the_parts():
    names = RunConfig.setting_names()
    assert len(set(names)) == len(names)
    settings = {"task": "csv", "train_file": "a.csv"}
    for name in set(names) - {
        *("task", "method", "top_layers", "train_layer_norm", "train_file"),
        *("search_trials", "search_seconds"),
        *ADAPTER_FLAGS,
    }:
        default = next(
            field.default
            for part in (DataFiles, ModelConfig, FitConfig, DeviceConfig, KeepConfig)
            for field in dataclasses.fields(part)
            if field.name == name
        )
        settings[name] = default
    assert RunConfig.from_settings(**settings) == RunConfig.from_settings("csv", train_file="a.csv")


def test_a_search_is_in_place_of_a_method():
    config = RunConfig.from_settings("reuters_r8", "no_bert", seed=3, export=False)
    assert (config.method, config.method_name) == (None, "no_bert")
    assert config.search == SearchConfig(trials=50, seconds=None)
    told = config.to_json_dict()
    assert (told["method"], told["search"]) == (None, {"trials": 50, "seconds": None})
    assert RunConfig.from_json_dict(told) == config
    assert config.identity()["search"] == {"trials": 50, "seconds": None}


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        ({"search_trials": 3}, SearchConfig(3, None)),
        ({"search_seconds": 9.0}, SearchConfig(None, 9.0)),
        ({"search_trials": 3, "search_seconds": 9.0}, SearchConfig(3, 9.0)),
    ],
)
def test_a_search_ends_when_what_was_given_is_spent(given, budget):
    assert RunConfig.from_settings("reuters_r8", "no_bert", **given).search == budget


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapter_size": 8}, "--adapter_size does not go with --method=no_bert.* Received: 8"),
        ({"top_layers": 2}, "--top_layers does not go"),
        ({"train_layer_norm": False}, "--train_layer_norm does not go"),
        ({"init_adapter": "a"}, "--init_adapter does not go"),
        ({"encoder": "e"}, "--encoder does not go"),
        ({"pooling": "mean"}, "--pooling does not go"),
        ({"epochs": 3}, "--epochs does not go"),
        ({"learning_rate": 0.1}, "--learning_rate does not go"),
        ({"precision": "bfloat16"}, "--precision does not go"),
        ({"strategy": "mirrored"}, "--strategy does not go"),
        ({"predict_test": True}, "--predict_test does not go"),
        ({"feature_cache": "f"}, "--feature_cache does not go"),
        ({"task": "squad"}, "--task=squad asks for spans"),
        ({"search_trials": 0}, "--search_trials must be a whole number of at least 1"),
        ({"search_seconds": 0}, "--search_seconds must be above 0. Received: 0"),
        ({"search_seconds": math.inf}, "--search_seconds must be above 0. Received: inf"),
        ({"method": "full", "search_trials": 3}, "--search_trials goes with --method=no_bert, not"),
        ({"method": "adapters", "search_seconds": 3}, "--search_seconds goes with --method=no_b"),
    ],
)
def test_what_does_not_go_with_a_search_is_refused(settings, message):
    settings = {"task": "reuters_r8", "method": "no_bert", **settings}
    with pytest.raises(ValueError, match=message):
        RunConfig.from_settings(**settings)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_name_for_a_flag(name):
    settings = {"top_layers": 2} if name == "top_layers" else {}
    config = RunConfig.from_settings("reuters_r8", name, **settings)
    assert (config.method or Method.of("adapters")).name == name


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"task": "mnist"}, "--task"),
        ({"method": "lora"}, "--method"),
        ({"precision": "float16"}, "--precision"),
        ({"strategy": "cluster"}, "--strategy"),
        ({"pooling": "max"}, "--pooling"),
        ({"encoder": ""}, "--encoder"),
        ({"method": "full", "adapter_size": 8}, "--adapter_size"),
        ({"adapter_size": 0}, "--adapter_size"),
        ({"method": "full", "adapter_gate": False}, "--adapter_gate goes with"),
        ({"adapter_size": ["8", "x"]}, "--adapter_size"),
        ({"adapter_size": []}, "--adapter_size"),
        ({"adapter_size": ["8"], "adapter_reduction_factor": 4.0}, "--adapter_reduction_factor"),
        ({"adapter_size": ["8", "4"], "adapter_layers": ["1"]}, "--adapter_size.*2 sizes"),
        ({"adapter_reduction_factor": 0.0}, "--adapter_reduction_factor"),
        ({"adapter_activation": "gulu"}, "--adapter_activation must be one of elu, "),
        ({"adapter_init_stddev": math.nan}, "--adapter_init_stddev"),
        ({"adapter_dropout": 1.0}, "--adapter_dropout"),
        ({"adapter_places": ["pooler"]}, "--adapter_places"),
        ({"adapter_places": []}, "--adapter_places"),
        ({"adapter_layers": ["first"]}, "--adapter_layers"),
        ({"adapter_form": "serial"}, "--adapter_form"),
        ({"adapter_norm": "group"}, "--adapter_norm"),
        ({"adapter_hidden_layers": 0}, "--adapter_hidden_layers"),
        ({"adapter_scale": "much"}, "--adapter_scale must be a number or one of"),
        ({"adapter_scale": "nan"}, "--adapter_scale"),
        ({"adapter_scale": "0"}, "--adapter_scale"),
        ({"adapter_norm": "batch", "rematerialize": True}, "--rematerialize .*--adapter_norm"),
        ({"top_layers": 1}, "--top_layers"),
        ({"method": "top_layers"}, "--top_layers"),
        ({"method": "top_layers", "top_layers": 0}, "--top_layers"),
        ({"batch_size": 0}, "--batch_size"),
        ({"batch_size": 8.0}, "--batch_size"),
        ({"batch_size": True}, "--batch_size"),
        ({"batch_size": None}, "--batch_size"),
        ({"epochs": 0}, "--epochs"),
        ({"epochs": "3"}, "--epochs"),
        ({"max_train_examples": 0}, "--max_train_examples"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**32}, "--seed"),
        ({"seed": 0.5}, "--seed"),
        ({"learning_rate": 0.0}, "--learning_rate"),
        ({"learning_rate": -1e-3}, "--learning_rate"),
        ({"learning_rate": math.nan}, "--learning_rate"),
        ({"learning_rate": math.inf}, "--learning_rate"),
        ({"learning_rate": "high"}, "--learning_rate"),
        ({"max_seq_length": 0}, "--max_seq_length"),
        ({"strategy": "tpu"}, "--tpu"),
        ({"strategy": "mirrored", "tpu": "local"}, "--tpu"),
        ({"worker_minutes": 0}, "--worker_minutes"),
        ({"worker_minutes": math.nan}, "--worker_minutes"),
        ({"output_dir": ""}, "--output_dir"),
        ({"gradient_accumulation_steps": 3}, "multiple of --gradient_accumulation_steps"),
        ({"gradient_accumulation_steps": 0}, "--gradient_accumulation_steps"),
        ({"checkpoint_minutes": -1.0}, "--checkpoint_minutes"),
        ({"checkpoint_minutes": math.nan}, "--checkpoint_minutes"),
        ({"keep_checkpoints": 0}, "--keep_checkpoints"),
        ({"steps_per_execution": 0}, "--steps_per_execution"),
        ({"head_dropout": 1.0}, "--head_dropout"),
        ({"head_dropout": math.nan}, "--head_dropout"),
        ({"export": "no"}, "--export"),
        ({"train_file": "train.csv"}, "--train_file"),
        ({"dev_file": "dev.csv"}, "--dev_file"),
        ({"text_columns": ("body",)}, "--text_columns"),
        ({"label_column": "class"}, "--label_column"),
        ({"task": "csv"}, "--train_file"),
    ],
    ids=str,
)
def test_bad_setting_is_an_error_that_names_its_flag(settings, flag):
    with pytest.raises(ValueError, match=flag):
        RunConfig.from_settings(**{"task": "reuters_r8", **settings})


@pytest.mark.parametrize(
    "method",
    [
        None,
        Method(AdapterConfig(size=8, places=("attention",), layers=(0, 5))),
        Method(AdapterConfig(size=(8, 4), layers=(0, 5), form="parallel", scale=4)),
        Method(AdapterConfig(reduction_factor=2, norm="layer", scale="learned", gate=True)),
        Method.named("top_layers", top_layers=2),
        Method.named("full"),
    ],
    ids=str,
)
def test_settings_are_read_back_from_their_json(method):
    config = RunConfig(
        "csv",
        method,
        DataFiles(train_file="a.csv", text_columns=("a", "b")),
        ModelConfig(head_dropout=0.2),
        FitConfig(learning_rate=1e-3, rematerialize=True),
        DeviceConfig(worker_minutes=1.5),
        KeepConfig(export=False),
    )
    assert RunConfig.from_json_dict(json.loads(json.dumps(config.to_json_dict()))) == config


@pytest.mark.parametrize(
    "change",
    [
        {"task": None},
        {"method": 3},
        {"method": {"trains": "some"}},
        {"fit": None},
        {"fit": {"epoch": 3}},
        {"files": []},
        {"model": {"encoder": 3}},
    ],
    ids=str,
)
def test_other_json_is_one_error(change):
    settings = {**RunConfig("reuters_r8").to_json_dict(), **change}
    with pytest.raises(ValueError, match=r"settings|must|method"):
        RunConfig.from_json_dict(settings)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig("reuters_r8").fit.epochs = 5


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"export": False}, True),
        ({"predict_test": True}, True),
        ({"strategy": "mirrored"}, True),
        ({"steps_per_execution": 4}, True),
        ({"data_dir": "elsewhere"}, True),
        ({"encoder": "./elsewhere"}, True),
        ({"output_dir": "elsewhere"}, True),
        ({"checkpoint_minutes": 1.0}, True),
        ({"rematerialize": True}, True),
        ({"adapter_size": 8}, False),
        ({"adapter_form": "parallel"}, False),
        ({"adapter_scale": "learned"}, False),
        ({"pooling": "mean"}, False),
        ({"max_seq_length": 8}, False),
        ({"precision": "bfloat16"}, False),
        ({"seed": 1}, False),
        ({"batch_size": 4}, False),
        ({"gradient_accumulation_steps": 4}, False),
        ({"max_train_examples": 4}, False),
        ({"head_dropout": 0.3}, False),
    ],
    ids=str,
)
def test_what_a_run_is(change, same):
    first = RunConfig.from_settings("reuters_r8").identity()
    second = RunConfig.from_settings("reuters_r8", **change).identity()
    assert (first == second) == same
