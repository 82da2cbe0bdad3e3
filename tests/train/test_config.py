import dataclasses
import json
import math
import pathlib

import pytest

from keras_adapters.methods.bottleneck import AdapterConfig
from train.config import LEARNING_RATES, RunConfig
from train.encoders.find import DEFAULT
from train.tasks.table import TASKS


@pytest.fixture
def csv_files(tmp_path):
    """Settings of a task of one's own, with files that are there."""
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.csv").write_text("text,label\n")
    files = {f"{name}_file": str(tmp_path / f"{name}.csv") for name in ("train", "dev", "test")}
    return {"task": "csv", **files}


def test_defaults():
    config = RunConfig(task="reuters_r8")
    assert config.method == "adapters"
    assert config.adapter == AdapterConfig(size=64)
    assert config.learning_rate == TASKS["reuters_r8"].recipe.learning_rate
    assert config.encoder == DEFAULT
    assert (config.batch_size, config.epochs, config.max_seq_length) == (32, 3, 128)
    assert (config.seed, config.precision, config.strategy) == (0, "float32", "auto")
    assert config.export
    assert config.max_train_examples is None


@pytest.mark.parametrize("method", LEARNING_RATES)
def test_learning_rate_is_by_method_unless_given(method, tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n")
    settings = {"task": "csv", "train_file": str(tmp_path / "train.csv"), "method": method}
    if method == "top_layers":
        settings["top_layers"] = 2
    assert RunConfig(**settings).learning_rate == LEARNING_RATES[method]
    assert RunConfig(**settings, learning_rate=0.5).learning_rate == 0.5
    assert (RunConfig(**settings).adapter is not None) == (method == "adapters")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "reuters_r8-adapters64-seed0"),
        ({"adapter": AdapterConfig(size=8), "seed": 3}, "reuters_r8-adapters8-seed3"),
        ({"method": "top_layers", "top_layers": 2}, "reuters_r8-top_layers2-seed0"),
        ({"method": "full"}, "reuters_r8-full-seed0"),
    ],
)
def test_default_output_dir_is_named_by_the_run(settings, name):
    config = RunConfig(task="reuters_r8", **settings)
    assert config.output_dir == str(pathlib.Path("runs", name))


def test_given_output_dir_is_kept(tmp_path):
    given = RunConfig(task="reuters_r8", output_dir=str(tmp_path / "new")).output_dir
    assert given == str(tmp_path / "new")


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"task": "mnist"}, "--task"),
        ({"method": "lora"}, "--method"),
        ({"precision": "float16"}, "--precision"),
        ({"strategy": "cluster"}, "--strategy"),
        ({"method": "full", "adapter": AdapterConfig()}, "--adapter_size"),
        ({"top_layers": 1}, "--top_layers"),
        ({"method": "top_layers"}, "--top_layers"),
        ({"method": "top_layers", "top_layers": 0}, "--top_layers must be 1 to 6"),
        ({"method": "top_layers", "top_layers": 7}, "--top_layers must be 1 to 6"),
        ({"batch_size": 0}, "--batch_size"),
        ({"epochs": 0}, "--epochs"),
        ({"max_train_examples": 0}, "--max_train_examples"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**32}, "--seed"),
        ({"learning_rate": 0.0}, "--learning_rate"),
        ({"learning_rate": -1e-3}, "--learning_rate"),
        ({"learning_rate": math.nan}, "--learning_rate"),
        ({"learning_rate": math.inf}, "--learning_rate"),
        ({"max_seq_length": 2}, "--max_seq_length must be 3 to 512"),
        ({"max_seq_length": 513}, "--max_seq_length must be 3 to 512"),
        ({"train_file": "train.csv"}, "--train_file"),
        ({"dev_file": "dev.csv"}, "--dev_file"),
        ({"test_file": "test.csv"}, "--test_file"),
        ({"text_columns": ("body",)}, "--text_columns"),
        ({"label_column": "class"}, "--label_column"),
        ({"strategy": "tpu"}, "--tpu"),
        ({"strategy": "mirrored", "tpu": "local"}, "--tpu"),
        ({"output_dir": ""}, "--output_dir"),
    ],
    ids=str,
)
def test_bad_setting_is_an_error_that_names_its_flag(settings, flag):
    with pytest.raises(ValueError, match=flag):
        RunConfig(**{"task": "reuters_r8", **settings})


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"train_file": None}, "--train_file"),
        ({"text_columns": ()}, "--text_columns"),
        ({"text_columns": ("a", "b", "c")}, "--text_columns"),
        ({"text_columns": ("a", "")}, "--text_columns"),
        ({"text_columns": ("a", "a")}, "--text_columns"),
        ({"text_columns": ("label",)}, "--label_column"),
        ({"label_column": ""}, "--label_column"),
        ({"text_columns": ("a", "b"), "max_seq_length": 4}, "--max_seq_length must be 5"),
    ],
    ids=str,
)
def test_bad_setting_of_own_files_is_an_error_that_names_its_flag(csv_files, settings, flag):
    with pytest.raises(ValueError, match=flag):
        RunConfig(**{**csv_files, **settings})


def test_a_pair_of_columns_is_accepted(csv_files):
    assert RunConfig(**csv_files, text_columns=("a", "b"), max_seq_length=5)


@pytest.mark.parametrize("name", ["train_file", "dev_file", "test_file"])
def test_missing_file_is_an_error_that_names_its_flag(csv_files, name):
    with pytest.raises(FileNotFoundError, match=f"--{name}=gone.csv"):
        RunConfig(**{**csv_files, name: "gone.csv"})


@pytest.mark.parametrize("names", [("train_file", "dev_file"), ("dev_file", "test_file")])
def test_one_file_for_two_splits_is_an_error_however_it_is_spelt(csv_files, names):
    path = pathlib.Path(csv_files[names[0]])
    again = str(path.parent / ".." / path.parent.name / path.name)
    with pytest.raises(ValueError, match=f"--{names[0]} and --{names[1]}"):
        RunConfig(**{**csv_files, names[1]: again})


def test_output_dir_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="--output_dir"):
        RunConfig(task="reuters_r8", output_dir=str(tmp_path / "out"))


def test_encoder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="--encoder"):
        RunConfig(task="reuters_r8", encoder=str(tmp_path / "gone"))


@pytest.mark.parametrize(
    "adapter", [None, AdapterConfig(size=8, places=("attention",), layers=(0, 5))]
)
def test_settings_as_json_survive_json(csv_files, adapter):
    config = RunConfig(**csv_files, adapter=adapter, text_columns=("a", "b"))
    settings = config.to_json_dict()
    assert json.loads(json.dumps(settings)) == settings
    assert set(settings) == {field.name for field in dataclasses.fields(RunConfig)}
    settings["adapter"] = AdapterConfig(**settings["adapter"])
    settings["text_columns"] = tuple(settings["text_columns"])
    assert RunConfig(**settings) == config


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig(task="reuters_r8").epochs = 5


def test_files_are_relative_to_data_dir(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n")
    config = RunConfig(task="csv", data_dir=str(tmp_path), train_file="train.csv")
    assert config.file_of("train") == tmp_path / "train.csv"
    assert config.file_of("dev") is None
    with pytest.raises(FileNotFoundError, match="--data_dir"):
        RunConfig(task="reuters_r8", data_dir=str(tmp_path / "none"))


def test_a_tasks_recipe_is_the_default_of_adapters(tmp_path):
    config = RunConfig(task="rte", data_dir=str(tmp_path))
    recipe = TASKS["rte"].recipe
    assert (config.learning_rate, config.epochs) == (recipe.learning_rate, recipe.epochs)
    assert config.adapter == AdapterConfig(size=recipe.adapter_size)
    given = RunConfig(task="rte", learning_rate=1e-3, epochs=2, adapter=AdapterConfig(size=4))
    assert (given.learning_rate, given.epochs, given.adapter.size) == (1e-3, 2, 4)
    full = RunConfig(task="rte", method="full")
    assert (full.learning_rate, full.epochs) == (LEARNING_RATES["full"], 3)


def test_a_recipe_of_one_encoder_is_not_for_others(make_tiny_folder, tmp_path):
    packaged = RunConfig(task="reuters_r8")
    assert packaged.learning_rate == TASKS["reuters_r8"].recipe.learning_rate
    encoder = str(make_tiny_folder(tmp_path / "encoder"))
    other = RunConfig(task="reuters_r8", encoder=encoder)
    assert other.learning_rate == LEARNING_RATES["adapters"] != packaged.learning_rate


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient_accumulation_steps": 3}, "multiple of --gradient_accumulation_steps"),
        ({"gradient_accumulation_steps": 0}, "--gradient_accumulation_steps must be at least 1"),
        ({"checkpoint_minutes": -1.0}, "--checkpoint_minutes"),
        ({"checkpoint_minutes": float("nan")}, "--checkpoint_minutes"),
        ({"keep_checkpoints": 0}, "--keep_checkpoints"),
        ({"steps_per_execution": 0}, "--steps_per_execution"),
        ({"head_dropout": 1.0}, "--head_dropout"),
    ],
)
def test_settings_of_training_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(task="reuters_r8", **settings)
