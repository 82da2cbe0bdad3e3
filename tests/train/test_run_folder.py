import json
import os
import subprocess
import sys

import pytest

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.config import RunConfig
from train.run_folder import RunFolder

RESULTS = {
    "task": "reuters_r8",
    "method": "adapters",
    "seed": 0,
    "parameters": {"total": 2, "trained": 1, "trained_percent": 50.0},
    "metrics": {"dev": {"accuracy": 0.5, "macro_f1": 0.5}},
    "examples": {"dev": 2},
    "adapter_bytes": 4,
    "examples_per_second": None,
    "seconds": 1.0,
    "peak_memory_bytes": 8,
}
HOLD = """
import sys
from train.config import RunConfig
from train.run_folder import RunFolder
folder = RunFolder(RunConfig.from_settings("reuters_r8", output_dir=sys.argv[1]), 7, "files")
print("held", flush=True)
sys.stdin.read()
"""


def make_config(path, **settings):
    return RunConfig.from_settings("reuters_r8", output_dir=str(path), **settings)


def open_folder(path, data=7, encoder="files", writes=True, **settings):
    return RunFolder(make_config(path, **settings), data, encoder, writes)


def begin(path, **settings):
    """Leaves a run's settings and its first state."""
    open_folder(path, **settings).close()
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "step-1.index").write_text("")


def test_folder_holds_the_settings(tmp_path):
    path = tmp_path / "a" / "b"
    config = make_config(path)
    with RunFolder(config, 7, "files") as folder:
        assert folder.path == path
    content = json.loads((path / "config.json").read_text())
    assert RunConfig.from_json_dict(content) == config
    assert (content["data"], content["encoder_files"]) == (7, "files")


def test_same_settings_again_are_the_same_run(tmp_path):
    config = RunConfig(
        "reuters_r8",
        Method(AdapterConfig(size=8, layers=(0, 1))),
        keep=make_config(tmp_path).keep,
    )
    with RunFolder(config, 7, "files") as folder:
        folder.write_results(RESULTS)
    with RunFolder(config, 7, "files") as folder:
        assert folder.results() == RESULTS


def test_other_data_under_the_same_name_are_another_run(tmp_path):
    begin(tmp_path)
    with pytest.raises(ValueError, match="data: 7 there, 8 now"):
        open_folder(tmp_path, data=8)


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint_minutes": 2.0},
        {"export": False},
        {"predict_test": True},
        {"strategy": "mirrored"},
        {"steps_per_execution": 2},
        {"encoder": "elsewhere"},
    ],
    ids=str,
)
def test_what_is_kept_and_where_it_runs_is_not_what_a_run_is(tmp_path, change):
    with open_folder(tmp_path) as folder:
        folder.write_results(RESULTS)
    with open_folder(tmp_path, **change) as folder:
        assert folder.results() == RESULTS


def test_other_settings_are_an_error_that_lists_them(tmp_path):
    begin(tmp_path, epochs=3)
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(ValueError, match="--output_dir") as error:
        open_folder(tmp_path, seed=1, epochs=5)
    assert "epochs: 3 there, 5 now\n  seed: 0 there, 1 now\n" in str(error.value)
    assert "batch_size" not in str(error.value)
    assert (tmp_path / "config.json").read_text() == before


def test_a_run_from_before_texts_shared_rows_is_one_without(tmp_path):
    begin(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    del settings["fit"]["pack"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    open_folder(tmp_path, pack=False).close()
    with pytest.raises(ValueError, match="pack: False there, True now"):
        open_folder(tmp_path, pack=True)


def test_a_run_that_ended_before_its_first_step_holds_no_folder(tmp_path):
    with open_folder(tmp_path, batch_size=9) as folder:
        folder.check_encoder("one")
    (tmp_path / "checkpoints").mkdir()
    with open_folder(tmp_path, data=8, batch_size=8) as folder:
        folder.check_encoder("two")
    content = json.loads((tmp_path / "config.json").read_text())
    assert (content["fit"]["batch_size"], content["data"], content["encoder"]) == (8, 8, "two")
    with open_folder(tmp_path, data=8, batch_size=8) as folder:
        folder.check_encoder("three")


def test_there_are_no_results_until_they_are_written(tmp_path):
    with open_folder(tmp_path) as folder:
        assert folder.results() is None
        folder.write_results(RESULTS)
        assert folder.results() == RESULTS
    assert {"config.json", "results.json"} <= set(os.listdir(tmp_path))


def test_moved_folder_is_still_the_same_run(tmp_path):
    with open_folder(tmp_path / "old") as folder:
        folder.write_results(RESULTS)
    (tmp_path / "old").rename(tmp_path / "new")
    with open_folder(tmp_path / "new") as folder:
        assert folder.results() == RESULTS


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"{}", b"3", b"\xff\xfe{}", b'{"task": "reuters_r8"}', b"[" * 100_000],
    ids=lambda content: repr(content[:12]),
)
@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_a_file_that_is_not_a_runs_is_an_error_and_kept(tmp_path, name, content):
    open_folder(tmp_path).close()
    (tmp_path / name).write_bytes(content)
    with (
        pytest.raises(ValueError, match=rf"--output_dir=.* holds a {name} that is not"),
        open_folder(tmp_path) as folder,
    ):
        folder.results()
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path, name):
    open_folder(tmp_path).close()
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=name), open_folder(tmp_path) as folder:
        folder.results()


def test_results_without_settings_are_an_error(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    with pytest.raises(ValueError, match=r"results\.json stands there without config\.json"):
        open_folder(tmp_path)


def test_folder_that_cannot_be_made_is_an_error_that_names_the_flag(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"--output_dir=.* cannot be written"):
        open_folder(tmp_path / "file" / "run")


def test_another_encoder_is_told_by_its_fingerprint(tmp_path):
    begin(tmp_path)
    with open_folder(tmp_path) as folder:
        assert not folder.knows_encoder
        folder.check_encoder("one")
    with open_folder(tmp_path) as folder:
        assert folder.knows_encoder
        folder.check_encoder("one")
    with open_folder(tmp_path, encoder="other files", export=False) as folder:
        assert not folder.knows_encoder
        before = (tmp_path / "config.json").read_text()
        with pytest.raises(ValueError, match=r"--encoder=.* is not the encoder that the run in"):
            folder.check_encoder("two")
        assert (tmp_path / "config.json").read_text() == before
        folder.check_encoder("one")  # The same weights in other files.
    with open_folder(tmp_path, encoder="other files") as folder:
        assert folder.knows_encoder


def test_missing_outputs_are_those_that_are_asked_for(tmp_path):
    with open_folder(tmp_path, predict_test=True) as folder:
        assert folder.missing() == ["adapter", "saved_model", "predictions"]
        (tmp_path / "adapter").mkdir()
        assert "adapter" in folder.missing()  # An empty folder is no output.
        (tmp_path / "adapter" / "adapter.json").write_text("{}")
        assert "adapter" in folder.missing()  # Nor is half of one.
        (tmp_path / "adapter" / "adapter.safetensors").write_text("")
        assert folder.missing() == ["saved_model", "predictions"]
    with open_folder(tmp_path, export=False) as folder:
        assert folder.missing() == []


def test_a_search_has_outputs_of_its_own(tmp_path):
    with open_folder(tmp_path, encoder=None, method="no_bert") as folder:
        assert folder.missing() == ["model"]
        folder.model.mkdir()
        (folder.model / "model.json").write_text("{}")
        assert folder.missing() == ["model"]
        (folder.model / "model.skops").write_text("")
        assert folder.missing() == []
    with open_folder(tmp_path / "no", encoder=None, method="no_bert", export=False) as folder:
        assert folder.missing() == []


def test_trials_are_work_that_no_other_run_may_take(tmp_path):
    open_folder(tmp_path, encoder=None, method="no_bert", search_trials=3).close()
    open_folder(tmp_path, encoder=None, method="no_bert", search_trials=4).close()
    (tmp_path / "trials.json").write_text("{}")
    with pytest.raises(ValueError, match=r"search: \{'trials': 4,.* there, \{'trials': 5,"):
        open_folder(tmp_path, encoder=None, method="no_bert", search_trials=5)
    with pytest.raises(ValueError, match=r"search: .* there, None now"):
        open_folder(tmp_path, adapter_size=8)


@pytest.mark.parametrize(
    "damage",
    [
        {"metrics": {"dev": {}}},
        {"metrics": {"dev": None}},
        {"metrics": []},
        {"parameters": {}},
        {"examples": {}},
        {"seconds": "1"},
        {"seed": None},
        {"task": "reuters_r52"},
    ],
    ids=str,
)
def test_results_that_cannot_be_told_are_damaged(tmp_path, damage):
    with open_folder(tmp_path) as folder:
        folder.write_results({**RESULTS, **damage})
        with pytest.raises(ValueError, match=r"holds a results\.json that is not a run's"):
            folder.results()


@pytest.mark.parametrize("name", ["adapter", "saved_model", "checkpoints", "logs", "predictions"])
def test_what_stands_in_an_outputs_way_is_told_before_anything_is_done(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(OSError, match=f"{name} is not a folder, but a run writes one there"):
        open_folder(tmp_path, predict_test=True)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(OSError, match=f"{name} is not a folder"):
        open_folder(tmp_path, predict_test=True)
    if name in ("saved_model", "predictions"):
        open_folder(tmp_path, export=False).close()


def test_two_processes_do_not_share_a_folder(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    holder = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OSError, match=rf"is in use by process {holder.pid} on "):
        open_folder(tmp_path)
    holder.kill()  # The lock dies with its process.
    holder.communicate()
    open_folder(tmp_path).close()


def test_an_error_leaves_no_lock(tmp_path):
    begin(tmp_path)
    with pytest.raises(ValueError, match="data"):
        open_folder(tmp_path, data=8)
    open_folder(tmp_path).close()


def test_a_worker_that_is_not_the_first_writes_nothing(tmp_path):
    with open_folder(tmp_path / "run", writes=False) as folder:
        folder.check_encoder("one")
        assert folder.results() is None
    assert not (tmp_path / "run").exists()
