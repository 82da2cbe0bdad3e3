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
    encoder = make_tiny_folder(folder / "encoder", dropout=0.0)
    files = {"train": 98, "dev": 21, "test": 19}  # None a multiple of the batch or of two.
    for seed, (split, count) in enumerate(files.items()):
        write_tiny_data(folder / f"{split}.csv", count, seed)

    def start(strategy, output, module=("-m", "train.run"), **environment):
        return run_command(
            *module,
            "--task=csv",
            *(f"--{split}_file={split}.csv" for split in files),
            f"--encoder={encoder}",
            "--head_dropout=0",
            "--adapter_size=4",
            "--max_seq_length=16",
            "--batch_size=8",
            "--epochs=3",
            "--checkpoint_minutes=0",
            "--noexport",
            f"--strategy={strategy}",
            f"--output_dir={output}",
            cwd=folder,
            wait=False,
            environment=environment,
        )

    def start_workers(output):
        addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
        return [
            start("multi_worker_mirrored", output, TF_CONFIG=json.dumps(cluster))
            for cluster in (
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
                for index in range(2)
            )
        ]

    return types.SimpleNamespace(folder=folder, start=start, start_workers=start_workers)


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


def test_all_go_on_after_one_is_lost(job, runs):
    output = job.folder / "lost"
    first, second = job.start_workers(output.name)
    while not list((output / "checkpoints").glob("step-*.index")):
        assert first.poll() is None
        assert second.poll() is None
        time.sleep(0.05)
    second.send_signal(signal.SIGKILL)
    _, error = first.communicate(timeout=120)
    assert first.returncode == 1
    assert "error: another worker has stopped" in error
    finish(*job.start_workers(output.name))
    expected, received = weights(runs["multi_worker_mirrored"]), weights(output)
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value, atol=1e-5)
