"""Where a model trains: one device, several GPUs, several workers, or a TPU."""

from __future__ import annotations

import contextlib
import pathlib
import socket
from collections.abc import Iterator

import tensorflow as tf
from official.common import distribute_utils

from train.fit import rendezvous
from train.fit.workers import WORKER_MINUTES, has_local_tpu, read_workers, several_workers

_CONNECT_SECONDS = 5


def make_strategy(
    name: str = "auto", tpu: str | None = None, *, worker_minutes: float = WORKER_MINUTES
) -> tf.distribute.Strategy:
    """Makes a strategy and says which, and why.

    Call it before anything else of TensorFlow: workers find each other at its start.

    Args:
      name: `auto`, `one_device`, `mirrored`, `multi_worker_mirrored` or `tpu`. `auto` is
        a TPU if `tpu` names one or this machine holds one, several workers if TF_CONFIG
        lists them, else several GPUs if there are, else one device.
      tpu: a TPU's name or `grpc://` address, `local` on a TPU VM.
      worker_minutes: how long to wait for the other workers.

    Returns:
      The strategy; its scope is where the model must be built.

    Raises:
      ValueError: the strategy needs what is not there, or TF_CONFIG is wrong.
      OSError: the TPU or another worker cannot be reached.
    """
    why = "asked for"
    if name == "auto":
        name, tpu, why = _choose(tpu)
    print(f"Strategy: {name}, {why}")
    if name == "tpu":
        return _tpu_strategy(tpu)
    if name == "multi_worker_mirrored":
        # Before the GPUs are listed, which would start TensorFlow without the others.
        return _worker_strategy(60 * worker_minutes)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()  # Over all GPUs, or else all CPUs.
    # TensorFlow's default places on the first GPU or the CPU.
    return tf.distribute.get_strategy()


@contextlib.contextmanager
def telling_of_lost_peers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Makes one error of all those by which a lost worker, or a lost TPU, shows itself.

    Use it around all that is done under the strategy: to make a variable is to talk to the
    others already.

    Raises:
      ConnectionError: another worker or the TPU has stopped.
    """
    try:
        yield
    except Exception as error:
        if not _is_of_a_lost_peer(error):
            raise
        on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
        raise ConnectionError(
            f"{'the TPU' if on_tpu else 'another worker'} has stopped; its own log says why. Start "
            "again what took part, with the same commands: training goes on from the last "
            "checkpoint"
        ) from error


def _is_of_a_lost_peer(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, (tf.errors.UnavailableError, tf.errors.AbortedError)):
            return True
        # Keras puts the text into an error of its own.
        if "Collective ops is aborted" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _choose(tpu: str | None) -> tuple[str, str | None, str]:
    if tpu:
        return "tpu", tpu, f"since --tpu={tpu}"
    if has_local_tpu():
        return "tpu", "local", "since this machine holds one (/dev/accel*)"
    if several_workers("auto"):
        return "multi_worker_mirrored", None, "since TF_CONFIG lists workers"
    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus > 1:
        return "mirrored", None, f"since there are {gpus} GPUs"
    return "one_device", None, "since there is " + ("one GPU" if gpus else "no TPU and no GPU")


def _worker_strategy(seconds: float) -> tf.distribute.Strategy:
    workers = read_workers()
    rendezvous.wait_for(workers, seconds)
    try:
        # TensorFlow waits where neither a signal nor a thread of Python is heard.
        with rendezvous.time_limit(workers, seconds):
            return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise OSError(
            f"the workers of TF_CONFIG, {', '.join(workers.addresses)}, could not start together: "
            f"{error.message.splitlines()[0]}. Start all of them again, with the same commands"
        ) from error


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
    if not has_local_tpu() and not pathlib.Path("/dev/vfio").is_dir():
        raise OSError("this machine has neither /dev/accel* nor /dev/vfio")


def _check_reachable(tpu: str) -> None:
    """Knocks at an address first: TensorFlow itself would wait for minutes."""
    if not tpu.startswith("grpc://"):
        # A name: Google Cloud is asked for its address, from a machine there.
        socket.getaddrinfo("metadata.google.internal", 80)
        tpu = tf.distribute.cluster_resolver.TPUClusterResolver(tpu).master()
    host, _, port = tpu.removeprefix("grpc://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
