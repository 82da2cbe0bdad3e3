"""The same run on one replica, on two of one process, and on two real processes."""

import json
import signal
import socket
import time
import types

import numpy as np
import pytest
import safetensors.numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# Seconds after which a process that should have ended is taken to hang.
GUARD = 300
# Two virtual CPUs, then the command itself.
TWO_CPUS = """
import runpy, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
sys.argv[0] = "train.run"
runpy.run_module("train.run", run_name="__main__")
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def job(make_tiny_folder, write_tiny_data, run_command, tmp_path_factory):
    """Starts one training in any folder; masks are drawn per replica, so it has no dropout."""
    folder = tmp_path_factory.mktemp("job")
    encoder = make_tiny_folder(folder / "encoder", dropout=0.0, positions=96)
    files = {"train": 98, "dev": 21, "test": 19}  # None a multiple of the batch or of two.
    for seed, (split, count) in enumerate(files.items()):
        write_tiny_data(folder / f"{split}.csv", count, seed)
    (folder / "squad").mkdir()
    write_questions(folder / "squad" / "train-v1.1.json", 26)
    write_questions(folder / "squad" / "dev-v1.1.json", 11)
    csv = ["--task=csv", *(f"--{split}_file={split}.csv" for split in files)]
    tasks = {
        "csv": [*csv, "--max_seq_length=16", "--epochs=3"],
        "squad": ["--task=squad", "--data_dir=squad", "--max_seq_length=80", "--epochs=1"],
    }

    def start(strategy, output, *flags, task="csv", module=("-m", "train.run"), **environment):
        return run_command(
            *module,
            *tasks[task],
            f"--encoder={encoder}",
            "--head_dropout=0",
            "--adapter_size=4",
            "--batch_size=8",
            "--checkpoint_minutes=0",
            "--noexport",
            f"--strategy={strategy}",
            f"--output_dir={output}",
            *flags,
            cwd=folder,
            wait=False,
            environment=environment,
            preexec_fn=hear_signals,
        )

    def start_workers(output, *flags, task="csv", second=None, which=(0, 1)):
        addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
        own = {0: flags, 1: flags if second is None else second}
        return [
            start(
                "multi_worker_mirrored",
                output,
                *own[index],
                task=task,
                TF_CONFIG=json.dumps(
                    {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
                ),
            )
            for index in which
        ]

    return types.SimpleNamespace(folder=folder, start=start, start_workers=start_workers)


def hear_signals():
    """Undoes what a shell does to processes in its background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def write_questions(path, count):
    random = np.random.default_rng(count)
    questions = []
    for index in range(count):
        words = [f"w{word}" for word in random.integers(2, 60, int(random.integers(5, 60)))]
        place = int(random.integers(len(words)))
        question = {"id": f"q{index}", "question": f"{words[place]} w1"}
        start = len(" ".join(words[:place])) + (place > 0)
        question["answers"] = [{"text": words[place], "answer_start": start}]
        questions.append({"context": " ".join(words), "qas": [question]})
    content = {"version": "1.1", "data": [{"title": "t", "paragraphs": questions}]}
    path.write_text(json.dumps(content))


def finish(*processes):
    for process in processes:
        _, error = process.communicate()
        assert process.returncode == 0, error


@pytest.fixture(scope="module")
def runs(job):
    """Folders of the finished runs by strategy."""
    finish(job.start("one_device", "one_device"))
    finish(job.start("mirrored", "mirrored", module=("-c", TWO_CPUS)))
    finish(*job.start_workers("multi_worker_mirrored"))
    names = ("one_device", "mirrored", "multi_worker_mirrored")
    for name in names:  # Seen with `pytest -rP`.
        print(name, *(f"{loss:.7f}" for loss in losses(job.folder / name)))
    return {name: job.folder / name for name in names}


def losses(folder):
    events = EventAccumulator(str(folder / "logs" / "train"))
    events.Reload()
    return [float(np.ravel(_value(event))[0]) for event in events.Tensors("epoch_loss")]


def _value(event):
    from tensorboard.util import tensor_util

    return tensor_util.make_ndarray(event.tensor_proto)


def weights(folder):
    return safetensors.numpy.load_file(folder / "adapter" / "adapter.safetensors")


@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker_mirrored"])
def test_losses_weights_and_metrics_agree(strategy, runs):
    expected = losses(runs["one_device"])
    assert len(expected) == 3
    assert expected[0] > expected[-1] + 0.005  # It learns.
    np.testing.assert_allclose(losses(runs[strategy]), expected, rtol=1e-4)
    first, second = (weights(runs[name]) for name in ("one_device", strategy))
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, atol=1e-4)
    results = [
        json.loads((runs[name] / "results.json").read_text()) for name in ("one_device", strategy)
    ]
    assert results[0]["metrics"].keys() == {"dev", "test"}
    assert results[1]["metrics"] == results[0]["metrics"]


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker_mirrored"])
def test_spans_train_on_two_replicas(strategy, job):
    finish(job.start("one_device", "squad_one_device", task="squad"))
    output = f"squad_{strategy}"
    if strategy == "mirrored":
        finish(job.start(strategy, output, task="squad", module=("-c", TWO_CPUS)))
    else:
        finish(*job.start_workers(output, task="squad"))
    expected, received = (
        json.loads((job.folder / name / "results.json").read_text())["metrics"]["dev"]
        for name in ("squad_one_device", output)
    )
    assert received == pytest.approx(expected, abs=1e-3)


def refuse(*processes):
    """Returns a check of the last line that each of them says, and that all of them fail."""

    def check(text):
        for process in processes:
            _, error = process.communicate(timeout=GUARD)
            assert process.returncode == 1, error
            assert text in error.strip().splitlines()[-1], error

    return check


def wait_for_a_state(output, *processes):
    while not list((output / "checkpoints").glob("step-*.index")):
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.long
def test_all_go_on_after_one_is_lost(job, runs):
    output = job.folder / "lost"
    first, second = job.start_workers(output.name)
    wait_for_a_state(output, first, second)
    second.send_signal(signal.SIGKILL)
    _, error = first.communicate(timeout=GUARD)
    assert first.returncode == 1
    assert "error: another worker has stopped" in error
    # One that does not see the first's folder would go on from the start.
    refuse(*job.start_workers(output.name, second=["--output_dir=elsewhere"]))(
        "worker 1: the last step in --output_dir."
    )
    finish(*job.start_workers(output.name))
    expected, received = weights(runs["multi_worker_mirrored"]), weights(output)
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value, atol=1e-5)


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_alone_gives_up_and_says_who_did_not_come(index, job):
    (alone,) = job.start_workers(f"alone{index}", "--worker_minutes=0.05", which=[index])
    _, error = alone.communicate(timeout=GUARD)
    assert alone.returncode == 1
    last = error.strip().splitlines()[-1]
    assert last.startswith("error: TF_CONFIG lists workers that did not come: 127.0.0.1:")
    assert last.endswith("within 0.05 minutes")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_that_waits(number, job):
    (alone,) = job.start_workers(f"waiting{number}", "--worker_minutes=60", which=[0])
    for line in alone.stdout:
        if line.startswith("Waiting for the other workers"):
            break
    alone.send_signal(number)
    _, error = alone.communicate(timeout=GUARD)
    assert alone.returncode == 128 + number
    assert "Traceback" not in error


def test_a_worker_that_fails_after_the_start_ends_the_others(job):
    (job.folder / "broken" / "checkpoints" / "step-1.index").mkdir(parents=True)
    first, second = job.start_workers("failing", second=["--output_dir=broken"])
    _, error = second.communicate(timeout=GUARD)
    assert second.returncode == 1
    assert "step-1 cannot be read" in error
    _, error = first.communicate(timeout=GUARD)
    assert first.returncode == 1
    assert "error: another worker has stopped" in error


def test_workers_of_unlike_runs_are_an_error_in_each(job, make_tiny_folder):
    (job.folder / "train2.csv").write_text((job.folder / "train.csv").read_text() + "w0,0\n")
    other = make_tiny_folder(job.folder / "other", positions=64)
    unlike = ["--seed=1", "--adapter_size=2", "--train_file=train2.csv", f"--encoder={other}"]
    refuse(*job.start_workers("unlike", second=unlike))(
        "These differ from the first's: worker 1: method, seed, data, encoder. Start all"
    )
