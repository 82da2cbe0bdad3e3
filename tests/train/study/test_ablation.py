import dataclasses
import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf

from keras_adapters.adapter_file import read_adapter
from keras_adapters.head import head_variables
from keras_adapters.methods.method import Method
from keras_adapters.variables import encoder_variables
from train.ablate import write_scores
from train.assembly import assemble
from train.config import RunConfig
from train.encoders.find import find_encoder
from train.fit.predictor import Predictor
from train.run_folder import RunFolder
from train.study import ablation
from train.study.runs import read_runs
from train.tasks.table import TASKS

FORMS = {
    "sequential": [],
    "multiplicative": [
        "--adapter_form=parallel_multiplicative",
        "--adapter_norm=layer",
        "--adapter_scale=learned",
        "--adapter_gate",
    ],
}


@pytest.fixture(scope="module")
def here(make_tiny_folder, write_tiny_data, run_in_turn, tmp_path_factory):
    """A folder with runs of an encoder with two layers."""
    folder = tmp_path_factory.mktemp("runs")
    make_tiny_folder(folder / "encoder", dropout=0.0)
    for seed, (split, count) in enumerate({"train": 512, "dev": 200, "test": 150}.items()):
        write_tiny_data(folder / f"{split}.csv", count, seed)
    common = ["--task=csv", f"--encoder={folder / 'encoder'}", "--max_seq_length=16", "--noexport"]
    common += [f"--{split}_file={folder / split}.csv" for split in ("train", "dev", "test")]
    common += ["--adapter_size=8", "--learning_rate=1e-2", "--epochs=3"]
    flags = [[*common, f"--output_dir={name}", *more] for name, more in FORMS.items()]
    for answer in run_in_turn(*flags, cwd=folder):
        assert answer.error is None
    return folder


def read(path):
    ((run,), _) = read_runs(path)
    return run


def contents(folder):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def without_adapters(run, split):
    """Scores the pretrained encoder with a run's LayerNorms and head."""
    config = RunConfig.from_json_dict(run.config)
    config = dataclasses.replace(config, method=Method.named("layer_norm"))
    files = find_encoder(config.model.encoder)
    data = TASKS[config.task].read(config.files)
    folder = RunFolder(config, data.fingerprint(), files.checksum, writes=False)
    built = assemble(config, data, files, folder, tf.distribute.get_strategy())
    named = encoder_variables(built.encoder)
    for name, value in read_adapter(run.path / "adapter").tensors.items():
        variables = named | head_variables(built.model, named, stable=True)
        if "/adapter/" not in name:
            variables[name].assign(value)
    predict = Predictor(built.model, built.strategy, 64)
    return built.objective.evaluate(predict, [split])[split][run.metric]


@pytest.mark.parametrize("form", FORMS)
def test_spans_are_removed_from_a_run_that_stays_as_it_is(here, form, monkeypatch):
    split, traces = "test", []

    class Watched(Predictor):
        def __call__(self, source):
            outputs = super().__call__(source)
            traces.append(self._step.experimental_get_tracing_count())
            return outputs

    monkeypatch.setattr(ablation, "Predictor", Watched)
    run, told = read(here / form), []
    before = contents(run.path)
    found = ablation.ablate(run, split, lambda done, of: told.append((done, of)))
    assert contents(run.path) == before
    assert (found["split"], found["metric"], found["layers"]) == (split, "accuracy", 2)
    assert found["base_score"] == run.score(split)
    assert [span[:2] for span in found["scores"]] == [[0, 0], [0, 1], [1, 1]]
    assert found["all_removed"] == found["scores"][1][2] == without_adapters(run, split)
    assert len({found["base_score"], *(span[2] for span in found["scores"])}) > 1
    labels = TASKS["csv"].read(RunConfig.from_json_dict(run.config).files)
    most = np.bincount(labels.train.labels).argmax()
    assert found["majority_score"] == np.mean(getattr(labels, split).labels == most)
    assert told == [(done, 4) for done in range(5)]
    assert len(traces) == 4
    assert len(set(traces)) == 1


def test_the_command_writes_what_is_found_and_says_it(here, monkeypatch, tmp_path):
    run = read(here / "sequential")
    found = {
        "split": "dev",
        "metric": "accuracy",
        "layers": 2,
        "base_score": 0.75,
        "scores": [[0, 0, 0.7], [0, 1, 0.5], [1, 1, 0.65]],
        "all_removed": 0.5,
        "majority_score": None,
    }
    monkeypatch.setattr(ablation, "ablate", lambda run, split, progress: progress(3, 4) or found)
    said = write_scores(run, tmp_path / "ablation.json", "dev")
    assert json.loads((tmp_path / "ablation.json").read_text()) == found
    assert "dev accuracy 75.00" in said
    assert f"{100 * run.score():.2f}: it was another machine" in said
    assert "65.00 at the worst, without layer 1's" in said
    assert "always one answer" not in said


def test_other_data_is_refused(here, write_tiny_data, tmp_path):
    run = read(here / "sequential")
    other = str(write_tiny_data(tmp_path / "other.csv", 20, 7))
    files = {**run.config["files"], "dev_file": other}
    changed = dataclasses.replace(run, config={**run.config, "files": files})
    with pytest.raises(ValueError, match=r"the examples of csv are not those that .* was trained"):
        ablation.ablate(changed)
