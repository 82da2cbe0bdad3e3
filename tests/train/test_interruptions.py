"""Whole runs that are killed, terminated or starved, and what is left of them."""

import json
import os
import random
import resource
import shutil
import signal
import time

import pytest

# `KILLS=50 pytest tests/train/test_interruptions.py` for a longer siege.
KILLS = int(os.environ.get("KILLS", "3"))
EPOCHS, STEPS = 3, 40
# Seconds after which a process that should have ended is taken to hang.
GUARD = 300


@pytest.fixture(scope="module")
def job(make_tiny_folder, write_tiny_data, run_command, tmp_path_factory):
    """Starts the same training in any folder; dropout is on, every step is kept."""
    folder = tmp_path_factory.mktemp("job")
    encoder = make_tiny_folder(folder / "encoder")
    write_tiny_data(folder / "train.csv", 8 * STEPS)
    write_tiny_data(folder / "dev.csv", 20, seed=1)

    def start(output, *flags, export=False, **options):
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
            *() if export else ("--noexport",),
            f"--output_dir={output}",
            *flags,
            cwd=folder,
            environment={"CUDA_VISIBLE_DEVICES": "-1"},
            **{"preexec_fn": hear_signals, **options},
        )

    start.folder = folder
    return start


def hear_signals():
    """Undoes what a shell does to processes in its background, and `nohup` to its command."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def as_nohup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.fixture(scope="module")
def alone(job):
    """Runs that nothing disturbs, at once: a good one, and one whose loss is no number."""
    flags = {"uninterrupted": [], "nan": ["--learning_rate=1e30", "--seed=1"]}
    processes = {name: job(name, *flags[name], wait=False) for name in flags}
    for process in processes.values():
        process.out, process.err = process.communicate()
    return processes


@pytest.fixture(scope="module")
def uninterrupted(job, alone):
    """The weights of a run that nothing disturbs."""
    assert alone["uninterrupted"].returncode == 0, alone["uninterrupted"].err
    lines = [line for line in alone["uninterrupted"].err.splitlines() if line]
    assert all(line.startswith("epoch ") for line in lines), lines  # The bar, and no noise.
    return weights(job, "uninterrupted")


def weights(job, output):
    return (job.folder / output / "adapter" / "adapter.safetensors").read_bytes()


def metrics(job, output):
    return json.loads((job.folder / output / "results.json").read_text())["metrics"]


def last_step(job, output):
    paths = (job.folder / output / "checkpoints").glob("step-*.index")
    return max((int(path.stem.removeprefix("step-")) for path in paths), default=0)


def wait_for_step(job, output, process, step=1):
    """Waits until the state of this step, or of a later one, is there, or the process has ended."""
    while last_step(job, output) < step and process.poll() is None:
        time.sleep(0.02)


def scratches(job, output, name=""):
    return [path.name for path in (job.folder / output).glob(f".{name}*.scratch")]


def state(job, output):
    """The files of the last state, and what is in them."""
    paths = (job.folder / output / "checkpoints").glob(f"step-{last_step(job, output)}.*")
    return {path.name: path.read_bytes() for path in paths}


def with_a_full_disk():
    # No file may grow to what a checkpoint needs.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    hear_signals()


@pytest.mark.long
def test_kills_at_random_steps_and_a_full_disk_change_nothing(job, uninterrupted):
    inside = 0
    for step in sorted(random.Random(KILLS).sample(range(1, (EPOCHS - 1) * STEPS), KILLS)):
        process = job("killed", wait=False)
        wait_for_step(job, "killed", process, step)
        process.kill()
        process.communicate()
        assert step <= last_step(job, "killed")
        inside += last_step(job, "killed") < EPOCHS * STEPS
        if not (job.folder / "full").exists():
            shutil.copytree(job.folder / "killed", job.folder / "full")
    assert inside  # A starved test may come too late for some.
    good = state(job, "full")
    full = job("full", preexec_fn=with_a_full_disk)
    assert full.returncode == 1
    last = full.err.strip().splitlines()[-1]
    assert last.startswith("error: the checkpoint full/checkpoints/step-")
    assert "make room" in last
    assert state(job, "full") == good
    done = job("killed")
    assert done.returncode == 0, done.err
    assert "Going on after step" in done.out
    assert weights(job, "killed") == uninterrupted
    assert metrics(job, "killed") == metrics(job, "uninterrupted")
    assert scratches(job, "killed") == []


def start_logged(job, output, name, *flags, **options):
    """Starts a run whose standard error can be read while it goes on."""
    log = job.folder / f"{output}-{name}.log"
    with log.open("w") as stream:
        return job(output, *flags, wait=False, stderr=stream, **options), log


def wait_for_text(log, text, process):
    while text not in log.read_text(errors="replace"):
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)


def test_signals_save_and_the_run_goes_on(job, uninterrupted):
    step = 0
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        name = signal.Signals(number).name
        # No state is written but for the signal.
        process, log = start_logged(job, "asked", name, "--checkpoint_minutes=60")
        wait_for_text(log, "epoch 1/", process)
        process.send_signal(number)
        out, _ = process.communicate(timeout=GUARD)
        assert process.returncode == 128 + number
        assert step == 0 or f"Going on after step {step} " in out
        assert step < last_step(job, "asked") < EPOCHS * STEPS
        step = last_step(job, "asked")
        last = log.read_text().strip().splitlines()[-1]
        assert last.startswith(f"Stopped: {name} at step {step}, which is saved. The same command")
        assert "Traceback" not in log.read_text()
    # A second Ctrl-C does not wait for the step's end.
    process, log = start_logged(job, "asked", "twice")
    wait_for_step(job, "asked", process, step + 1)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    # The latter if the step's end came first, and the process was about to exit.
    assert process.returncode in (128 + signal.SIGINT, -signal.SIGINT)
    assert "Traceback" not in log.read_text()
    # What `nohup` ignores is no reason to stop.
    process, log = start_logged(job, "asked", "nohup", preexec_fn=as_nohup)
    wait_for_step(job, "asked", process, last_step(job, "asked") + 1)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=GUARD)
    assert process.returncode == 0, log.read_text()
    assert weights(job, "asked") == uninterrupted
    assert metrics(job, "asked") == metrics(job, "uninterrupted")


@pytest.mark.long
def test_signals_and_kills_during_the_export_leave_nothing_half(job, uninterrupted):
    # All is trained, and nothing written yet.
    shutil.copytree(job.folder / "uninterrupted", job.folder / "export")
    (job.folder / "export" / "results.json").unlink()
    shutil.rmtree(job.folder / "export" / "adapter")
    for number in (signal.SIGTERM, signal.SIGKILL):
        name = signal.Signals(number).name
        process, log = start_logged(job, "export", name, export=True)
        earlier = scratches(job, "export", "saved_model")
        while scratches(job, "export", "saved_model") in ([], earlier):
            assert process.poll() is None, log.read_text()
            time.sleep(0.005)
        process.send_signal(number)
        process.communicate(timeout=GUARD)
        assert not (job.folder / "export" / "saved_model").exists()
        assert not (job.folder / "export" / "results.json").exists()
        if number != signal.SIGKILL:
            assert process.returncode == 128 + number
            last = log.read_text().strip().splitlines()[-1]
            assert last.startswith(f"Stopped: {name} while writing the SavedModel. The same ")
            assert scratches(job, "export") == []
    assert scratches(job, "export")  # Of the one that was killed.
    done = job("export", export=True)
    assert done.returncode == 0, done.err
    assert done.err == ""  # Nothing trains, and nothing that TensorFlow has to say is shown.
    assert scratches(job, "export") == []
    assert (job.folder / "export" / "saved_model" / "saved_model.pb").exists()
    assert weights(job, "export") == uninterrupted


def test_a_loss_that_is_no_number_is_one_error(job, alone):
    assert alone["nan"].returncode == 1
    assert "error: the loss became" in alone["nan"].err.splitlines()[-1]
    assert not (job.folder / "nan" / "results.json").exists()


def test_a_vanished_data_file_is_named(job):
    (job.folder / "gone.csv").write_text("text,label\nw0,0\nw1,1\n")
    (job.folder / "gone.csv").unlink()
    done = job("gone", "--test_file=gone.csv")
    assert done.returncode == 1
    assert "error: --test_file=gone.csv: there is no such file" in done.err
    assert not (job.folder / "gone").exists()
