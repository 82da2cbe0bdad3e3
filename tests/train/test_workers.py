"""The same run on one replica, on two of one process, and on two real processes."""

import json
import socket

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
def runs(make_tiny_folder, write_tiny_data, run_command, tmp_path_factory):
    """Folders of the finished runs by strategy; masks are drawn per replica, so no dropout."""
    folder = tmp_path_factory.mktemp("runs")
    encoder = make_tiny_folder(folder / "encoder", dropout=0.0)
    files = {"train": 98, "dev": 21, "test": 19}  # None a multiple of the batch or of two.
    for seed, (split, count) in enumerate(files.items()):
        write_tiny_data(folder / f"{split}.csv", count, seed)

    def flags(strategy):
        return [
            "--task=csv",
            *(f"--{split}_file={split}.csv" for split in files),
            f"--encoder={encoder}",
            "--head_dropout=0",
            "--adapter_size=4",
            "--max_seq_length=16",
            "--batch_size=8",
            "--epochs=3",
            "--noexport",
            f"--strategy={strategy}",
            f"--output_dir={strategy}",
        ]

    one = run_command("-m", "train.run", *flags("one_device"), cwd=folder)
    assert one.returncode == 0, one.err
    two = run_command("-c", TWO_CPUS, *flags("mirrored"), cwd=folder)
    assert two.returncode == 0, two.err
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        workers.append(
            run_command(
                "-m",
                "train.run",
                *flags("multi_worker_mirrored"),
                cwd=folder,
                wait=False,
                environment={"TF_CONFIG": json.dumps(cluster)},
            )
        )
    for worker in workers:
        _, error = worker.communicate()
        assert worker.returncode == 0, error
    return {name: folder / name for name in ("one_device", "mirrored", "multi_worker_mirrored")}


def losses(folder):
    events = EventAccumulator(str(folder / "logs" / "train"))
    events.Reload()
    return [float(np.ravel(_value(event))[0]) for event in events.Tensors("epoch_loss")]


def _value(event):
    from tensorboard.util import tensor_util

    return tensor_util.make_ndarray(event.tensor_proto)


@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker_mirrored"])
def test_losses_weights_and_metrics_agree(strategy, runs):
    expected = losses(runs["one_device"])
    assert len(expected) == 3
    assert expected[0] > expected[-1] + 0.01
    np.testing.assert_allclose(losses(runs[strategy]), expected, rtol=1e-4)
    first, second = (
        safetensors.numpy.load_file(runs[name] / "adapter" / "adapter.safetensors")
        for name in ("one_device", strategy)
    )
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, atol=1e-4)
    results = [
        json.loads((runs[name] / "results.json").read_text()) for name in ("one_device", strategy)
    ]
    assert results[0]["metrics"].keys() == {"dev", "test"}
    assert results[1]["metrics"] == results[0]["metrics"]
