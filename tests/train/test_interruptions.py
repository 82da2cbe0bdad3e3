"""Whole runs that are killed, terminated or starved, and what is left of them."""

import concurrent.futures
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

# `KILLS=50 pytest tests/train/test_interruptions.py` for a longer siege.
KILLS = int(os.environ.get("KILLS", "20"))
EPOCHS, STEPS = 3, 80
LANES = 2


@pytest.fixture(scope="module")
def job(make_tiny_folder, write_tiny_data, run_command, tmp_path_factory):
    """Starts the same training in any folder; dropout is on, every step is kept."""
    folder = tmp_path_factory.mktemp("job")
    encoder = make_tiny_folder(folder / "encoder")
    write_tiny_data(folder / "train.csv", 8 * STEPS)
    write_tiny_data(folder / "dev.csv", 20, seed=1)

    def start(output, *flags, **options):
        return run_command(
            "-m",
            "train.run",
            "--task=csv",
            "--train_file=train.csv",
            "--dev_file=dev.csv",
            f"--encoder={encoder}",
            "--adapter_size=4",
            "--max_seq_length=16",
            "--batch_size=8",
            f"--epochs={EPOCHS}",
            "--checkpoint_minutes=0",
            "--noexport",
            f"--output_dir={output}",
            *flags,
            cwd=folder,
            environment={"CUDA_VISIBLE_DEVICES": "-1"},
            **options,
        )

    start.folder = folder
    return start


@pytest.fixture(scope="module")
def uninterrupted(job):
    """The weights of a run that nothing disturbs, and how long it takes."""
    start = time.monotonic()
    done = job("uninterrupted")
    assert done.returncode == 0, done.err
    return weights(job, "uninterrupted"), time.monotonic() - start


def weights(job, output):
    return (job.folder / output / "adapter" / "adapter.safetensors").read_bytes()


def metrics(job, output):
    return json.loads((job.folder / output / "results.json").read_text())["metrics"]


def last_step(job, output):
    paths = (job.folder / output / "checkpoints").glob("step-*.index")
    return max((int(path.stem.removeprefix("step-")) for path in paths), default=0)


def wait_for_step(job, output, process):
    while not list((job.folder / output / "checkpoints").glob("step-*.index")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_kills_at_random_points_change_nothing(job, uninterrupted):
    expected, duration = uninterrupted

    def siege(lane):
        rng, output, steps = random.Random(lane), f"killed{lane}", []
        for _ in range(KILLS // LANES):
            process = job(output, wait=False)
            # Two sieges at a time: a process has come to its steps by about this time.
            delay = rng.uniform(0.3, 1.3) * duration
            try:
                process.communicate(timeout=delay)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            steps.append(last_step(job, output))
            if (job.folder / output / "results.json").exists():
                assert weights(job, output) == expected
                shutil.rmtree(job.folder / output)
        done = job(output)
        assert done.returncode == 0, done.err
        return steps, weights(job, output)

    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        sieges = list(pool.map(siege, range(LANES)))
    assert [final == expected for _, final in sieges] == [True] * LANES
    # Some kills must have come in the midst of training, or nothing was tried.
    inside = {step for steps, _ in sieges for step in steps if 0 < step < EPOCHS * STEPS}
    assert len(inside) >= KILLS // 5, sieges


def test_sigterm_saves_and_the_run_goes_on(job, uninterrupted):
    process = job("terminated", wait=False)
    wait_for_step(job, "terminated", process)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert time.monotonic() - asked < 10
    assert process.returncode == 128 + signal.SIGTERM
    step = last_step(job, "terminated")
    assert f"Stopped: SIGTERM at step {step}" in error
    assert 0 < step < EPOCHS * STEPS
    done = job("terminated")
    assert f"Going on after step {step} " in done.out
    assert weights(job, "terminated") == uninterrupted[0]
    assert metrics(job, "terminated") == metrics(job, "uninterrupted")


def test_a_full_disk_is_one_error_and_what_was_good_stays(job, uninterrupted):
    process = job("full", wait=False)
    wait_for_step(job, "full", process)
    # From now on no file may grow beyond what a checkpoint needs.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    _, error = process.communicate()
    assert process.returncode == 1
    last = error.strip().splitlines()[-1]
    assert last.startswith("error: the checkpoint full/checkpoints/step-")
    assert "make room" in last
    done = job("full")
    assert "Going on after step" in done.out
    assert weights(job, "full") == uninterrupted[0]


def test_a_loss_that_is_no_number_is_one_error(job):
    done = job("nan", "--learning_rate=1e30", "--seed=1")
    assert done.returncode == 1
    assert "error: the loss became" in done.err.splitlines()[-1]
    assert not (job.folder / "nan" / "results.json").exists()


def test_a_vanished_data_file_is_named(job):
    (job.folder / "gone.csv").write_text("text,label\nw0,0\nw1,1\n")
    (job.folder / "gone.csv").unlink()
    done = job("gone", "--test_file=gone.csv")
    assert done.returncode == 1
    assert "error: --test_file=gone.csv: there is no such file" in done.err
    assert not (job.folder / "gone").exists()
