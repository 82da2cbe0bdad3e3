"""Serves a SavedModel over HTTP with Ray Serve: `python -m train.serve --saved_model=...`.

It speaks TensorFlow Serving's REST form, for those who have no container of that:

    curl -d '{"instances": ["a text", "another"]}' \
      http://127.0.0.1:8501/v1/models/model:predict

SIGTERM or Ctrl-C ends it, after the requests that it has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from train import command
from train.quiet import quiet_tensorflow
from train.ray_extra import check_installed, connect, resources
from train.serving.signatures import read_signatures

FLAGS = flags.FLAGS
_HEALTH_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags, by their names; see the end of this file.

    Raises:
      ValueError: one is wrong; the text names it.
    """

    saved_model: str
    name: str = "model"
    host: str = "127.0.0.1"
    port: int = 8501
    replicas: int = 1
    max_batch_size: int = 32
    batch_wait_ms: float = 2.0
    max_request_bytes: int = 2**22
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if not self.name or set(self.name) & set("/: ?#%"):
            raise ValueError(
                f"--name must be a word that can stand in a URL. Received: {self.name!r}"
            )


def main(argv: Sequence[str]) -> None:
    """Serves until a signal comes."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        check_installed("train.serve")
        names = [field.name for field in dataclasses.fields(Options)]
        options = Options(**{name: getattr(FLAGS, name) for name in names})
        quiet_tensorflow(FLAGS.tensorflow_log)
        serve(options)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except _Stopped:
        pass


def serve(options: Options) -> None:
    """Serves a SavedModel until `_Stopped` is raised by a signal.

    Raises:
      ValueError: there is no model in the folder, or the replicas cannot load it.
      OSError: the port is taken, there is no cluster, or no Ray can be started.
      _Stopped: always, in the end.
    """
    read_signatures(options.saved_model)
    port = options.port
    if options.ray_address is None:
        port = _free_port(options.host, port)
    with _stopping(), connect(options.ray_address) as ray:
        _catch_signals()  # Ray has its own way with them.
        with _application(ray, options, port):
            print(
                f"{options.saved_model} answers at "
                f"http://{options.host}:{port}/v1/models/{options.name}:predict",
                flush=True,
            )
            while True:
                signal.pause()


@contextlib.contextmanager
def _application(ray: Any, options: Options, port: int) -> Iterator[None]:
    """Starts replicas and what hands them requests, until the block ends."""
    from ray import serve as ray_serve
    from ray.serve.schema import LoggingConfig

    from train.serving.replica import Replica, Served

    share = resources(ray, options.replicas)
    folder = pathlib.Path(options.saved_model).resolve()
    served = Served(
        folder=str(folder),
        name=options.name,
        version=int(folder.name) if folder.name.isdecimal() else 1,
        max_batch_size=options.max_batch_size,
        batch_wait_ms=options.batch_wait_ms,
        max_request_bytes=options.max_request_bytes,
        threads=max(1, int(share.cpus)),
    )
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    logs = LoggingConfig(log_level="ERROR", enable_access_log=False)
    deployment = ray_serve.deployment(
        Replica,
        name="model",
        num_replicas=share.count,
        ray_actor_options={"num_cpus": share.cpus, "num_gpus": share.gpus},
        # Twice: while a batch is computed, the next one comes together.
        max_ongoing_requests=max(64, 2 * options.max_batch_size),
        health_check_period_s=_HEALTH_SECONDS,
        health_check_timeout_s=_PATIENCE_SECONDS,
        graceful_shutdown_wait_loop_s=0.1,
    )
    try:
        ray_serve.start(
            http_options=ray_serve.HTTPOptions(host=options.host, port=port), logging_config=logs
        )
        ray_serve.run(
            deployment.bind(served), name=options.name, route_prefix="/", logging_config=logs
        )
    except RuntimeError as error:
        raise ValueError(
            f"--saved_model={options.saved_model} cannot be served: {_last_line(error)}"
        ) from error
    try:
        yield
    finally:
        ray_serve.delete(options.name)


def _free_port(host: str, port: int) -> int:
    """Returns the port, or of 0 one that is free; raises OSError if it is taken."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"--host={host} --port={port} cannot be served at: {reason}") from error


class _Stopped(BaseException):
    """A signal has come."""


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Lets signals raise `_Stopped` within the block; behind it they do what they did."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _catch_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _catch_signals() -> None:
    def stop(number: int, frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)  # It is ending already.
        raise _Stopped

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def define_flags() -> None:
    """Defines the flags: not at import, for other commands have flags of the same names."""
    flags.DEFINE_string("saved_model", None, "The saved_model folder of a run or a bundle.")
    flags.DEFINE_string("name", "model", "The model's, in URLs.")
    flags.DEFINE_string("host", "127.0.0.1", "The address to listen at; 0.0.0.0 is all.")
    flags.DEFINE_integer(
        "port",
        8501,
        "The port to listen at; 0: one that is free.",
        lower_bound=0,
        upper_bound=65535,
    )
    flags.DEFINE_integer(
        "replicas", None, "Processes with the model; by default, 1.", lower_bound=1
    )
    flags.DEFINE_integer("max_batch_size", 32, "Rows that are computed at a time.", lower_bound=1)
    flags.DEFINE_float(
        "batch_wait_ms", 2.0, "How long a batch waits for more rows.", lower_bound=0.0
    )
    flags.DEFINE_integer(
        "max_request_bytes", 2**22, "How long a request's body may be.", lower_bound=1
    )
    flags.DEFINE_string("ray_address", None, "Of a Ray cluster to serve on, as ray.init takes it.")
    flags.mark_flag_as_required("saved_model")


if __name__ == "__main__":
    define_flags()
    command.run(main)
