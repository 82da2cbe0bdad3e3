"""The command, with runs of its own: real ones, of an encoder that trains in a moment."""

import json
import os
import signal
import sys
import time

import pytest

TRAP = "TensorFlow was imported"


@pytest.fixture(scope="module")
def here(make_tiny_folder, write_tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    make_tiny_folder(folder / "encoder")
    for seed, split in enumerate(("train", "dev", "test")):
        write_tiny_data(folder / f"{split}.csv", 40 if split != "train" else 64, seed)
    traps = folder / "traps"
    traps.mkdir()
    for module in ("tensorflow", "tf_keras", "keras", "ray", "sklearn", "matplotlib"):
        (traps / f"{module}.py").write_text(f"raise SystemExit({TRAP!r})\n")
    return folder


COMMON = ["--encoder=encoder", "--max_seq_length=16", "--batch_size=16", "--checkpoint_minutes=0"]
COMMON += [f"--{split}_file={split}.csv" for split in ("train", "dev", "test")]
COMMON += ["--tasks=csv", "--adapter_sizes=4", "--output_dir=out", "--runs_at_once=2"]
NAME = "csv-adapters-size4-lr{}-epochs{}-seed0"


def sweep(run_command, here, *flags, **options):
    return run_command("-m", "train.sweep", *COMMON, *flags, cwd=here, **options)


@pytest.fixture(scope="module")
def stopped(run_command, here):
    """A sweep of two runs that got SIGTERM when one was in the midst of it."""
    flags = ["--learning_rates=0.003,1e38", "--epochs_grid=20"]
    process = sweep(run_command, here, *flags, wait=False)
    while not list((here / "out" / "runs" / NAME.format(0.003, 20)).glob("checkpoints/*.index")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    return process, error, flags


def test_a_stopped_sweep_goes_on_and_tells_what_failed(stopped, run_command, here):
    process, error, flags = stopped
    assert process.returncode == 128 + signal.SIGTERM, error
    assert "SIGTERM: the runs save their state and end" in error
    assert "Stopped: SIGTERM while running. The same command goes on from there." in error
    good, bad = NAME.format(0.003, 20), NAME.format(1e38, 20)
    plan = json.loads((here / "out" / "sweep.json").read_text())["runs"]
    assert [run["name"] for run in plan] == [good, bad]
    assert not (here / "out" / "runs" / good / "results.json").exists()

    done = sweep(run_command, here, *flags)
    assert done.returncode == 1, done.err
    assert "Going on after step" in (here / "out" / "logs" / f"{good}.txt").read_text()
    (line,) = [line for line in done.err.splitlines() if line.startswith(f"failed: {bad}: ")]
    assert "the loss became nan" in line
    assert f"(exit status 1). See out/logs/{bad}.txt" in line
    assert done.err.splitlines()[-1].startswith(f"error: 1 of 2 runs failed: {bad}. The same")
    heading, row, *_ = done.out.splitlines()
    assert heading.split()[:4] == ["task", "method", "dev", "test"]
    assert row.startswith("csv   adapters 4  ")
    assert "1 further runs of this folder have not finished." in done.out
    assert (here / "out" / "runs" / good / "adapter" / "adapter.safetensors").exists()
    assert not (here / "out" / "runs" / good / "saved_model").exists()  # None was asked for.

    written = (here / "out" / "sweep.json").read_bytes()
    done = sweep(run_command, here, *flags, "--learning_rates=0.003,0.001", "--dry_run")
    assert done.returncode == 0, done.err
    assert f"{good} (finished): --task=csv --method=adapters" in done.out
    assert f"{NAME.format(0.001, 20)} (to do): " in done.out
    assert "2 runs, 1 of them finished." in done.out
    assert " for 1 of the 1 others, 2 at once, judged by the 1 finished ones." in done.out
    assert (here / "out" / "sweep.json").read_bytes() == written

    done = sweep(run_command, here, *flags, "--learning_rates=0.003")  # Nothing is left to do.
    assert done.returncode == 0, done.err
    assert done.err == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--adapter_sise=8", "'adapter_sise'. Did you mean: adapter_sizes"),
        ("--learning_rate=1", "'learning_rate'. Did you mean: learning_rates"),
        ("--learning_rates=0", "--learning_rate must be above 0"),
        ("--learning_rates=x", "error: --learning_rates: flag --learning_rate=x: could not"),
        ("--seeds=0", "--seeds=0"),
        ("--grid=gone.yaml --seeds=2", "--adapter_sizes and --grid=gone.yaml both say"),
        ("--methods=full", "--adapter_sizes goes with --methods=adapters"),
        ("--methods=adapters,top_layers --top_layers=3", "--top_layers does not fit the encoder"),
        ("--max_seq_length=99", "--max_seq_length must be 3 to 32"),
        ("--dev_file=gone.csv", "--dev_file=gone.csv: there is no such file"),
        ("--output_dir=encoder", "--output_dir=encoder holds config.json, but no sweep.json"),
        ("8", "flags start with --: 8"),
    ],
)
def test_wrong_flags_are_one_error_at_once(run_command, here, flags, message):
    before = sorted(here.rglob("*"))
    path = os.pathsep.join([str(here / "traps"), *sys.path])
    done = sweep(run_command, here, *flags.split(), environment={"PYTHONPATH": path})
    assert done.returncode == 1
    assert message in done.err
    assert TRAP not in done.err
    assert "Traceback" not in done.err
    assert (done.out, sorted(here.rglob("*"))) == ("", before)
