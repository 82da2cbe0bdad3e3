import dataclasses
import errno
import json
import os

import pytest
from absl import flags

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train import run as train_run
from train.config import RunConfig
from train.settle import settle
from train.study.runs import command, read_runs

# A value unlike the default for each field of adapters, and how its flag says it.
OTHER = {
    "size": (8, "8"),
    "reduction_factor": (16.0, "16.0"),
    "activation": ("relu", "relu"),
    "init_stddev": (1e-3, "0.001"),
    "dropout": (0.25, "0.25"),
    "places": (("attention",), "attention"),
    "layers": ((0, 2), "0,2"),
    "form": ("parallel", "parallel"),
    "norm": ("layer", "layer"),
    "hidden_layers": (2, "2"),
    "scale": (4.0, "4.0"),
    "gate": (True, "true"),
}
SETTINGS = {
    "size": {"adapter_size": 8},
    "all of the fit": {
        "learning_rate": 1e-05,
        "epochs": 7,
        "batch_size": 30,
        "seed": 2**32 - 1,
        "precision": "bfloat16",
        "max_train_examples": 100,
        "gradient_accumulation_steps": 2,
        "rematerialize": True,
    },
    "all of the model": {"pooling": "pooler", "head_dropout": 0.0, "max_seq_length": 77},
    "the rest": {"steps_per_execution": 3, "worker_minutes": 2.5, "export": False}
    | {"checkpoint_minutes": 0.5, "keep_checkpoints": 1, "adapter_dtype": "bfloat16"},
    "frozen norms": {"train_layer_norm": False, "adapter_size": 3},
    "top layers": {"method": "top_layers", "top_layers": 3},
    "full": {"method": "full"},
    "recipe": {},
    "spans": {"task": "squad", "data_dir": "."},
    "glue": {"task": "mnli", "data_dir": "."},
}


def parse(arguments):
    """The settings that the real flags make of a command line."""
    values = flags.FlagValues()
    for name in (*RunConfig.setting_names(), "flagfile"):
        if name in train_run.FLAGS:
            values[name] = train_run.FLAGS[name]
    saved = {name: (values[name].value, values[name].present) for name in values}
    try:
        rest = values(["train.run", *arguments])
        assert rest == ["train.run"]
        return RunConfig.from_settings(
            **{name: values[name].value for name in RunConfig.setting_names()}
        )
    finally:
        for name, (value, present) in saved.items():
            values[name].value, values[name].present = value, present


def kept(folder, config):
    """The run that a settled configuration leaves."""
    (folder / "config.json").write_text(json.dumps(config.to_json_dict()))
    return next(iter(read_runs(folder)[0]))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_command_makes_the_same_run(tmp_path, write_run, minilm, name):
    settings = {"task": "reuters_r8", **SETTINGS[name]}
    config = settle(RunConfig.from_settings(**settings), minilm)
    folder = write_run(tmp_path / "run", settings["task"], results={"method": config.method.name})
    again = settle(parse(command(kept_with_seed(folder, config))), minilm)
    assert again == config


def kept_with_seed(folder, config):
    results = json.loads((folder / "results.json").read_text()) | {"seed": config.fit.seed}
    (folder / "results.json").write_text(json.dumps(results))
    return kept(folder, config)


def test_files_with_awkward_columns(tmp_path, write_run):
    columns = {"text_columns": ('a "b"', "c,d"), "label_column": "é"}
    folder = write_run(tmp_path / "run", "csv", train_file="x.csv", **columns)
    (run,), _ = read_runs(folder)
    assert parse(command(run)).files == RunConfig.from_json_dict(run.config).files


def test_only_what_differs_from_the_defaults_is_said(tmp_path, write_run):
    (run,), _ = read_runs(write_run(tmp_path / "run"))
    assert command(run) == [
        "--task=reuters_r8",
        "--adapter_size=64",
        "--learning_rate=0.001",
        "--epochs=3",
        f"--output_dir={tmp_path / 'run'}",
    ]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AdapterConfig)])
def test_each_field_of_adapters_has_a_flag(tmp_path, write_run, field):
    value, text = OTHER[field]
    config = RunConfig("reuters_r8", Method(AdapterConfig(**{field: value})))
    folder = write_run(tmp_path / "run", results={"seed": 0})
    assert f"--adapter_{field}={text}" in command(kept(folder, config))
    if f"adapter_{field}" in RunConfig.setting_names():
        assert (
            parse(command(kept(folder, config))).identity()["method"]
            == (config.identity()["method"])
        )


def test_fields_that_are_not_there_or_not_known(tmp_path, write_run):
    insertion = {"form": "parallel", "scale": 4.0, "gate": True, "size": None}
    folder = write_run(tmp_path / "run", insertion=insertion | {"reduction_factor": 16})
    content = json.loads((folder / "config.json").read_text())
    del content["method"]["insertion"]["dropout"]
    (folder / "config.json").write_text(json.dumps(content))
    (run,), _ = read_runs(folder)
    assert {flag for flag in command(run) if "adapter" in flag} == {
        "--adapter_form=parallel",
        "--adapter_scale=4.0",
        "--adapter_gate=true",
        "--adapter_reduction_factor=16",
    }
    assert run.label == "adapters 1/16, parallel, scale 4, gate"


def test_runs_at_any_depth_by_path(tmp_path, write_run):
    for name in ("b/c/run", "a/run", "a/run2"):
        write_run(tmp_path / name, seed=len(name))
    write_run(tmp_path / "a/run/adapter/not_a_run")
    write_run(tmp_path / "a/.run.hidden")
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder/config.json").write_text('{"hidden_size": 2}')
    runs, left_out = read_runs(tmp_path)
    names = [run.path.relative_to(tmp_path).as_posix() for run in runs]
    assert (names, left_out) == (["a/run", "a/run2", "b/c/run"], [])


def test_a_run_tells_what_it_is(tmp_path, write_run):
    settings = {"data_dir": "glue", "method": "top_layers", "top_layers": 2}
    folder = write_run(tmp_path / "run", "mrpc", dev=0.75, **settings)
    (run,), _ = read_runs(folder)
    assert (run.task, run.method, run.seed, run.metric) == ("mrpc", "top_layers", 0, "f1")
    assert (run.score(), run.splits, run.label) == (0.75, ("dev",), "top 2 layers")
    assert (run.top_layers, run.insertion, run.max_train_examples) == (2, None, None)


DAMAGE = {
    "unfinished": (lambda c, r: (c, None), "it has not finished: there is no results.json"),
    "whose": (lambda c, r: (None, r), "there is no config.json"),
    "not JSON": (lambda c, r: (c, "{"), "results.json is damaged"),
    "a list": (lambda c, r: (c, []), "results.json is not a run's"),
    "no fit": (lambda c, r: ({k: c[k] for k in c if k != "fit"}, r), "config.json is not a run's"),
    "other run": (lambda c, r: (c, r | {"seed": 3}), "are of different runs"),
    "other task": (lambda c, r: (c, r | {"task": "gone"}), "there is no task 'gone'"),
    "no dev": (lambda c, r: (c, r | {"metrics": {}}), "results.json lacks 'dev'"),
    "no sizes": (lambda c, r: (c, r | {"examples": {}}), "results.json lacks 'train'"),
    "metrics": (lambda c, r: (c, r | {"metrics": [1]}), "results.json is damaged"),
    "NaN": (
        lambda c, r: (c, r | {"metrics": {"dev": {"accuracy": float("nan"), "macro_f1": 0}}}),
        "results.json holds no number for dev's accuracy",
    ),
    "seconds": (lambda c, r: (c, r | {"seconds": "9"}), "holds no number for seconds"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_no_finished_run_is_named(tmp_path, write_run, name):
    change, sentence = DAMAGE[name]
    folder = write_run(tmp_path / "run")
    files = ("config.json", "results.json")
    changed = change(*(json.loads((folder / file).read_text()) for file in files))
    for file, content in zip(files, changed, strict=True):
        (folder / file).unlink()
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / file).write_text(text)
    runs, (left_out,) = read_runs(tmp_path)
    assert not runs
    assert left_out.startswith(f"{folder}: ")
    assert sentence in left_out


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(NotADirectoryError, match="gone is not a folder"):
        read_runs(tmp_path / "gone")


def test_a_folder_that_cannot_be_read_is_named(tmp_path, write_run, monkeypatch):
    write_run(tmp_path / "run")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    runs, left_out = read_runs(tmp_path)
    assert len(runs) == 1
    assert left_out == [f"{tmp_path / 'closed'}: it cannot be read: Permission denied"]
