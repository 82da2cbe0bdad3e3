"""What a run is: where it may go on, what it is then, and what a finished one still makes."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from keras_adapters.adapter_file import read_adapter

EPOCHS, STEPS = 2, 6


@pytest.fixture(scope="module")
def folder(make_tiny_folder, write_tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("resuming")
    encoder = make_tiny_folder(folder / "encoder")
    shutil.copytree(encoder, folder / "same")
    shutil.copytree(encoder, folder / "other")
    tensors = safetensors.numpy.load_file(encoder / "model.safetensors")
    tensors["pooler.dense.bias"] = tensors["pooler.dense.bias"] + np.float32(1e-3)
    safetensors.numpy.save_file(tensors, folder / "other" / "model.safetensors")
    # The same weights in a file that says something more.
    tensors = safetensors.numpy.load_file(encoder / "model.safetensors")
    safetensors.numpy.save_file(tensors, folder / "same" / "model.safetensors", {"note": "again"})
    write_tiny_data(folder / "train.csv", 8 * STEPS)
    write_tiny_data(folder / "dev.csv", 20, seed=1)
    return folder


def flags(output, **changes):
    settings = {
        "task": "csv",
        "train_file": "train.csv",
        "dev_file": "dev.csv",
        "encoder": "encoder",
        "adapter_size": 4,
        "max_seq_length": 16,
        "batch_size": 8,
        "epochs": EPOCHS,
        "checkpoint_minutes": 0,
        "keep_checkpoints": 100,
        "export": "false",
        "output_dir": output,
    }
    return [f"--{name}={value}" for name, value in {**settings, **changes}.items()]


@pytest.fixture(scope="module")
def finished(folder, run_in_turn):
    """A finished run, and copies of what it was after a few steps and at its end."""
    (done,) = run_in_turn(flags("finished"), cwd=folder)
    assert done.error is None

    def copy(name, step=None):
        path = shutil.copytree(folder / "finished", folder / name)
        if step is not None:
            for output in ("adapter", "logs"):
                shutil.rmtree(path / output)
            (path / "results.json").unlink()
            for file in (path / "checkpoints").iterdir():
                if int(file.name.split(".")[0].removeprefix("step-")) > step:
                    file.unlink()
        return path

    return copy


def weights(path):
    """What a run trained; the file also says where its encoder was."""
    tensors = read_adapter(path / "adapter").tensors
    return {name: value.tobytes() for name, value in tensors.items()}


@pytest.mark.long
def test_a_run_goes_on_wherever_it_is_the_same(folder, finished, run_in_turn):
    changes = {
        "unchanged": {},
        "strategy": {"strategy": "mirrored"},
        "executions": {"steps_per_execution": 3},
        "path": {"encoder": "./encoder/", "data_dir": ".", "train_file": "./train.csv"},
        "copy": {"encoder": "same"},
        "export": {"export": "true"},
        "kept": {"keep_checkpoints": 1, "checkpoint_minutes": 60},
    }
    for name in changes:
        finished(name, step=8)
    commands = [flags(name, **change) for name, change in changes.items()]
    for name, done in zip(changes, run_in_turn(*commands, cwd=folder), strict=True):
        assert done.error is None, name
        assert "Going on after step 8" in done.out, name
        # Steps that run together are one program, which may round in another way.
        if name in ("strategy", "executions"):
            ours, theirs = (
                safetensors.numpy.load_file(folder / run / "adapter" / "adapter.safetensors")
                for run in (name, "finished")
            )
            for key, value in theirs.items():
                np.testing.assert_allclose(ours[key], value, atol=1e-5, err_msg=f"{name}: {key}")
        else:
            assert weights(folder / name) == weights(folder / "finished"), name


def test_a_run_does_not_go_on_as_another(folder, finished, run_in_turn):
    changes = {
        "weights": ({"encoder": "other"}, "--encoder=other is not the encoder that the run in"),
        "size": ({"adapter_size": 5}, "method"),
        "precision": ({"precision": "bfloat16"}, "precision: 'float32' there, 'bfloat16' now"),
        "data": ({"train_file": "dev.csv", "dev_file": "train.csv"}, "data: "),
        "batch": ({"batch_size": 4}, "batch_size: 8 there, 4 now"),
    }
    commands, before = [], {}
    for name, (change, _) in changes.items():
        path = finished(f"another-{name}", step=8)
        files = [file for file in path.rglob("*") if file.is_file() and file.name != ".lock"]
        before[name] = {file: file.read_bytes() for file in files}
        commands.append(flags(path.name, **change))
    # Of a finished run too: its results are not those of other weights.
    finished("another-end")
    commands.append(flags("another-end", encoder="other"))
    *done, end = run_in_turn(*commands, cwd=folder)
    for (name, (_, message)), each in zip(changes.items(), done, strict=True):
        assert message in (each.error or ""), name
        assert {file: file.read_bytes() for file in before[name]} == before[name], name
    assert "--encoder=other is not the encoder" in end.error


def test_weights_replaced_in_place_are_told(folder, finished, run_in_turn):
    finished("replaced", step=8)
    encoder = shutil.copytree(folder / "encoder", folder / "replaced-encoder")
    shutil.copy(folder / "other" / "model.safetensors", encoder / "model.safetensors")
    (done,) = run_in_turn(flags("replaced", encoder="replaced-encoder"), cwd=folder)
    assert "its weights or its vocabulary have changed" in done.error


def test_checkpoints_of_another_run_are_one_error(folder, finished, run_in_turn):
    path = finished("mixed", step=8)
    (wide,) = run_in_turn(flags("wide", adapter_size=6, epochs=1), cwd=folder)
    assert wide.error is None
    shutil.rmtree(path / "checkpoints")
    shutil.copytree(folder / "wide" / "checkpoints", path / "checkpoints")
    (done,) = run_in_turn(flags("mixed"), cwd=folder)
    assert "step-6" in done.error
    assert not (path / "results.json").exists()
    assert (path / "checkpoints" / "step-6.index").exists()


def test_a_finished_run_is_exported_later(folder, finished, run_in_turn):
    finished("later")
    (done,) = run_in_turn(flags("later", export="true"), cwd=folder)
    assert done.error is None
    assert "making what it lacks: saved_model" in done.out
    assert (folder / "later" / "saved_model" / "saved_model.pb").is_file()
    assert json.loads((folder / "later" / "config.json").read_text())["keep"]["export"]
    assert weights(folder / "later") == weights(folder / "finished")
