"""Where a model trains: one device, several GPUs, several workers, or a TPU."""

from __future__ import annotations

import os
import pathlib
import socket

import tensorflow as tf
from official.common import distribute_utils

_CONNECT_SECONDS = 5


def make_strategy(name: str = "auto", tpu: str | None = None) -> tf.distribute.Strategy:
    """Makes a strategy and says which, and why.

    Call it before anything else of TensorFlow: workers find each other at its start.

    Args:
      name: `auto`, `one_device`, `mirrored`, `multi_worker_mirrored` or `tpu`. `auto` is
        a TPU if `tpu` names one or this machine holds one, several workers if TF_CONFIG
        lists them, else several GPUs if there are, else one device.
      tpu: a TPU's name or `grpc://` address, `local` on a TPU VM.

    Returns:
      The strategy; its scope is where the model must be built.

    Raises:
      ValueError: the strategy needs what is not there.
      OSError: the TPU cannot be reached.
    """
    why = "asked for"
    if name == "auto":
        name, tpu, why = _choose(tpu)
    print(f"Strategy: {name}, {why}")
    if name == "tpu":
        return _tpu_strategy(tpu)
    if name == "multi_worker_mirrored":
        if "TF_CONFIG" not in os.environ:
            raise ValueError(
                "--strategy=multi_worker_mirrored needs the environment variable TF_CONFIG, which "
                "lists the workers and says which this is (tensorflow.org, multi-worker training)"
            )
        # Before the GPUs are listed, which would start TensorFlow without the others.
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()  # Over all GPUs, or else all CPUs.
    # TensorFlow's default places on the first GPU or the CPU.
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes the run's files: the first worker, or the only one."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    kind, index = resolver.task_type, resolver.task_id
    if kind == "worker" and "chief" in resolver.cluster_spec().jobs:
        return False
    return kind is None or kind == "chief" or index == 0


def _choose(tpu: str | None) -> tuple[str, str | None, str]:
    if tpu:
        return "tpu", tpu, f"since --tpu={tpu}"
    if any(pathlib.Path("/dev").glob("accel[0-9]*")):
        return "tpu", "local", "since this machine holds one (/dev/accel*)"
    if "TF_CONFIG" in os.environ:
        return "multi_worker_mirrored", None, "since TF_CONFIG lists workers"
    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus > 1:
        return "mirrored", None, f"since there are {gpus} GPUs"
    return "one_device", None, "since there is " + ("one GPU" if gpus else "no TPU and no GPU")


def _tpu_strategy(tpu: str | None) -> tf.distribute.Strategy:
    if not tpu:
        raise ValueError("--strategy=tpu needs --tpu: the TPU's name, or `local` on its VM")
    try:
        if tpu == "local":
            _check_local()
        else:
            _check_reachable(tpu)
        return distribute_utils.get_distribution_strategy("tpu", tpu_address=tpu)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise OSError(
            f"--tpu={tpu}: no TPU answers there: {error}. Give the name of a running TPU, its "
            "grpc:// address, or `local` on a TPU VM"
        ) from error


def _check_local() -> None:
    if not any(pathlib.Path("/dev").glob("accel[0-9]*")) and not pathlib.Path("/dev/vfio").is_dir():
        raise OSError("this machine has neither /dev/accel* nor /dev/vfio")


def _check_reachable(tpu: str) -> None:
    """Knocks at an address first: TensorFlow itself would wait for minutes."""
    if not tpu.startswith("grpc://"):
        # A name: Google Cloud is asked for its address, from a machine there.
        socket.getaddrinfo("metadata.google.internal", 80)
        tpu = tf.distribute.cluster_resolver.TPUClusterResolver(tpu).master()
    host, _, port = tpu.removeprefix("grpc://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
