import json
import os

import pytest

from keras_adapters.methods.bottleneck import AdapterConfig
from train.config import RunConfig
from train.run_folder import RunFolder


def make_config(path, **settings):
    return RunConfig(task="reuters_r8", output_dir=str(path), **settings)


def test_folder_holds_the_settings(tmp_path):
    config = make_config(tmp_path / "a" / "b", adapter=AdapterConfig(size=8, layers=(0, 1)))
    folder = RunFolder(config, 7)
    assert folder.path == tmp_path / "a" / "b"
    assert os.listdir(folder.path) == ["config.json"]
    assert json.loads((folder.path / "config.json").read_text()) == {
        **config.to_json_dict(),
        "data": 7,
    }


def test_same_settings_again_are_the_same_run(tmp_path):
    config = make_config(tmp_path, adapter=AdapterConfig(size=8, layers=(0, 1)))
    RunFolder(config, 7).write_results({"seconds": 1.5})
    assert RunFolder(config, 7).results() == {"seconds": 1.5}


def test_other_data_under_the_same_name_are_another_run(tmp_path):
    RunFolder(make_config(tmp_path), 7)
    with pytest.raises(ValueError, match="data: 7 there, 8 now"):
        RunFolder(make_config(tmp_path), 8)


def test_how_often_it_is_kept_is_not_what_a_run_is(tmp_path):
    RunFolder(make_config(tmp_path, checkpoint_minutes=1.0), 7)
    assert RunFolder(make_config(tmp_path, checkpoint_minutes=2.0), 7).results() is None


def test_other_settings_are_an_error_that_lists_them(tmp_path):
    RunFolder(make_config(tmp_path), 7)
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(ValueError, match="--output_dir") as error:
        RunFolder(make_config(tmp_path, seed=1, epochs=5), 7)
    assert "epochs: 3 there, 5 now\n  seed: 0 there, 1 now\n" in str(error.value)
    assert "batch_size" not in str(error.value)
    assert (tmp_path / "config.json").read_text() == before


def test_there_are_no_results_until_they_are_written(tmp_path):
    folder = RunFolder(make_config(tmp_path), 7)
    assert folder.results() is None
    folder.write_results({"metrics": {"dev": {"accuracy": 0.5}}})
    assert folder.results() == {"metrics": {"dev": {"accuracy": 0.5}}}
    assert sorted(os.listdir(tmp_path)) == ["config.json", "results.json"]


def test_moved_folder_is_still_the_same_run(tmp_path):
    RunFolder(make_config(tmp_path / "old"), 7).write_results({"seconds": 1})
    (tmp_path / "old").rename(tmp_path / "new")
    assert RunFolder(make_config(tmp_path / "new"), 7).results() == {"seconds": 1}


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe{}"])
def test_config_that_is_not_a_runs_is_an_error_and_kept(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"--output_dir=.* holds a config\.json that is not"):
        RunFolder(make_config(tmp_path), 7)
    assert (tmp_path / "config.json").read_bytes() == content


def test_folder_that_cannot_be_made_is_an_error_that_names_the_flag(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"--output_dir=.* cannot be written"):
        RunFolder(make_config(tmp_path / "file" / "run"), 7)
