"""Whole runs that are killed, terminated or starved, and what is left of them."""

import json
import os
import random
import resource
import signal
import time

import pytest

# `KILLS=50 pytest tests/train/test_interruptions.py` for a longer siege.
KILLS = int(os.environ.get("KILLS", "4"))
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


@pytest.fixture(scope="module")
def uninterrupted(job):
    """The weights of a run that nothing disturbs."""
    done = job("uninterrupted")
    assert done.returncode == 0, done.err
    return weights(job, "uninterrupted")


def weights(job, output):
    return (job.folder / output / "adapter" / "adapter.safetensors").read_bytes()


def metrics(job, output):
    return json.loads((job.folder / output / "results.json").read_text())["metrics"]


def last_step(job, output):
    paths = (job.folder / output / "checkpoints").glob("step-*.index")
    return max((int(path.stem.removeprefix("step-")) for path in paths), default=0)


def wait_for_step(job, output, process, step=1):
    """Waits until the state of this step, or of a later one, is there."""
    while last_step(job, output) < step:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def scratches(job, output, name=""):
    return [path.name for path in (job.folder / output).glob(f".{name}*")]


def test_kills_at_random_steps_change_nothing(job, uninterrupted):
    random_steps = random.Random(KILLS)
    steps = sorted(random_steps.sample(range(1, EPOCHS * STEPS), KILLS))
    for step in steps:
        process = job("killed", wait=False)
        wait_for_step(job, "killed", process, step)
        process.kill()
        process.communicate()
        assert step <= last_step(job, "killed")
    done = job("killed")
    assert done.returncode == 0, done.err
    assert "Going on after step" in done.out
    assert weights(job, "killed") == uninterrupted
    assert metrics(job, "killed") == metrics(job, "uninterrupted")
    assert scratches(job, "killed") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_run_goes_on(number, job, uninterrupted):
    name = signal.Signals(number).name
    process, log = start_logged(job, name, "--checkpoint_minutes=60")
    wait_for_text(log, "epoch 1/", process)  # No state is written but for the signal.
    process.send_signal(number)
    process.communicate(timeout=GUARD)
    step = last_step(job, name)
    assert 0 < step < EPOCHS * STEPS
    assert process.returncode == 128 + number
    assert f"Stopped: {name} at step {step}, which is saved" in log.read_text()
    assert "Traceback" not in log.read_text()
    done = job(name)
    assert f"Going on after step {step} " in done.out
    assert weights(job, name) == uninterrupted
    assert metrics(job, name) == metrics(job, "uninterrupted")


def start_logged(job, output, *flags, **options):
    """Starts a run whose standard error can be read while it goes on."""
    log = job.folder / f"{output}.log"
    with log.open("w") as stream:
        return job(output, *flags, wait=False, stderr=stream, **options), log


def wait_for_text(log, text, process):
    while text not in log.read_text(errors="replace"):
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)


def test_a_second_ctrl_c_ends_a_run_at_once(job, uninterrupted):
    process, log = start_logged(job, "twice")
    wait_for_step(job, "twice", process)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in log.read_text()
    done = job("twice")
    assert "Going on after step" in done.out
    assert weights(job, "twice") == uninterrupted


def test_what_nohup_ignores_stays_ignored(job, uninterrupted):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = job("nohup", wait=False, preexec_fn=ignore)
    wait_for_step(job, "nohup", process)
    process.send_signal(signal.SIGHUP)
    _, error = process.communicate(timeout=GUARD)
    assert process.returncode == 0, error
    assert weights(job, "nohup") == uninterrupted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_export_says_so_and_leaves_nothing_half(number, job, uninterrupted):
    output = f"export{number}"
    process, log = start_logged(job, output, export=True)
    while not scratches(job, output, "saved_model"):
        assert process.poll() is None, log.read_text()
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=GUARD)
    assert process.returncode == 128 + number
    last = log.read_text().strip().splitlines()[-1]
    name = signal.Signals(number).name
    assert last.startswith(f"Stopped: {name} while writing the SavedModel. The same command ")
    assert not (job.folder / output / "saved_model").exists()
    assert not (job.folder / output / "results.json").exists()
    assert scratches(job, output) == []
    done = job(output, export=True)
    assert done.returncode == 0, done.err
    assert (job.folder / output / "saved_model" / "saved_model.pb").exists()
    assert weights(job, output) == uninterrupted


def test_what_a_kill_during_the_export_left_is_cleaned_up(job, uninterrupted):
    process = job("export_killed", export=True, wait=False)
    while not scratches(job, "export_killed", "saved_model"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert scratches(job, "export_killed")
    done = job("export_killed", export=True)
    assert done.returncode == 0, done.err
    assert scratches(job, "export_killed") == []
    assert (job.folder / "export_killed" / "saved_model" / "saved_model.pb").exists()


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
    assert weights(job, "full") == uninterrupted


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
