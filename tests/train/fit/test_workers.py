import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from train.fit import workers as module
from train.fit.rendezvous import wait_for
from train.fit.workers import Workers, is_first_worker, read_workers, several_workers

THREE = {"worker": ["a:1", "b:2", "c:3"]}
WITH_CHIEF = {"worker": ["a:1", "b:2"], "chief": ["h:9"]}


@pytest.fixture
def set_config(monkeypatch):
    monkeypatch.setattr(module, "has_local_tpu", lambda: False)

    def set_config(value):
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv("TF_CONFIG", text)

    return set_config


def config(cluster=THREE, kind="worker", index=0):
    return {"cluster": cluster, "task": {"type": kind, "index": index}}


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "expected"),
    [
        (THREE, "worker", 0, Workers(("a:1", "b:2", "c:3"), 0)),
        (THREE, "worker", "2", Workers(("a:1", "b:2", "c:3"), 2)),
        (WITH_CHIEF, "chief", 0, Workers(("h:9", "a:1", "b:2"), 0)),
        (WITH_CHIEF, "worker", 0, Workers(("h:9", "a:1", "b:2"), 1)),
    ],
)
def test_workers_are_numbered_from_the_chief(cluster, kind, index, expected, set_config):
    set_config(config(cluster, kind, index))
    assert read_workers() == expected
    assert several_workers("auto")
    assert is_first_worker("auto") == (expected.index == 0)
    assert is_first_worker("one_device")
    assert not several_workers("auto", tpu="local")


def test_tensorflow_numbers_them_alike(set_config):
    from tensorflow.python.distribute import multi_worker_util

    for kind, index in (("chief", 0), ("worker", 0), ("worker", 1)):
        set_config(config(WITH_CHIEF, kind, index))
        assert read_workers().index == multi_worker_util.id_in_cluster(WITH_CHIEF, kind, index)


@pytest.mark.parametrize("text", [None, ""])
def test_without_the_variable(text, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert not several_workers("auto")
    assert is_first_worker("auto")
    with pytest.raises(ValueError, match=r"--strategy=multi_worker_mirrored needs .*TF_CONFIG"):
        several_workers("multi_worker_mirrored")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("{", "is not JSON"),
        ("[1]", "must be an object"),
        ("3", "must be an object"),
        ({}, "needs `cluster`"),
        ({"cluster": {}, "task": {"type": "worker", "index": 0}}, "needs `cluster`"),
        ({"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}, "needs `cluster`"),
        ({"cluster": THREE}, "needs `task`"),
        ({"cluster": THREE, "task": {"type": "worker"}}, "needs `task`"),
        ({"cluster": THREE, "task": 0}, "needs `task`"),
        (config(index=3), "must have a `task.index` of 0 to 2"),
        (config(index=-1), "must have a `task.index` of 0 to 2"),
        (config(index=True), "must have a `task.index`"),
        (config(index=0.0), "must have a `task.index`"),
        (config(index=None), "must have a `task.index`"),
        (config(kind="chief"), "has a `task.type` that `cluster` does not list, 'chief'"),
        (config(kind=["worker"]), "has a `task.type`"),
        (config({"worker": ["a:1"], "ps": ["b:1"]}), "must list workers"),
        (config({"worker": "a:1"}), "must give `cluster.worker` as a list"),
        (config({"worker": []}), "must give `cluster.worker` as a list"),
        (config({"worker": [1]}), "must give `cluster.worker` as a list"),
        (config({"worker": ["a"]}), "must give `cluster.worker` as a list"),
        (config({"worker": ["a:0"]}), "must give `cluster.worker` as a list"),
        (config({"worker": ["a:70000"]}), "must give `cluster.worker` as a list"),
        (config({"worker": ["a:1", "a:1"]}), "lists an address twice"),
        (config({"worker": ["a:1"], "chief": ["b:1", "c:1"]}), "lists more than one chief"),
    ],
)
def test_a_wrong_variable_is_one_error(value, rule, set_config):
    set_config(value)
    for strategy in ("auto", "multi_worker_mirrored"):
        with pytest.raises(ValueError, match="TF_CONFIG") as error:
            is_first_worker(strategy)
        assert f"the environment variable TF_CONFIG {rule}" in str(error.value)
    assert not several_workers("mirrored")


@pytest.fixture
def addresses():
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return tuple(f"127.0.0.1:{port}" for port in ports)


def test_all_meet(addresses):
    met = threading.Barrier(3)

    def meet(index):
        wait_for(Workers(addresses, index), 60)
        # TensorFlow's server is at the address next.
        with socket.create_server(("", int(addresses[index].rpartition(":")[2]))):
            met.wait(60)

    threads = [threading.Thread(target=meet, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    meet(2)
    for thread in threads:
        thread.join()
    assert not met.broken


def test_those_who_do_not_come_are_named(addresses):
    with (
        socket.create_server(("127.0.0.1", int(addresses[1].rpartition(":")[2]))),
        pytest.raises(TimeoutError, match="workers that did not come: ") as error,
    ):
        wait_for(Workers(addresses, 0), 0)
    assert addresses[2] in str(error.value)
    assert addresses[1] not in str(error.value)
    wait_for(Workers(addresses[:1], 0), 0)  # There is nobody to wait for.


def test_a_port_that_is_taken(addresses):
    with (
        socket.create_server(("", int(addresses[0].rpartition(":")[2]))),
        pytest.raises(OSError, match=r"gives this worker port .*, on which it cannot listen"),
    ):
        wait_for(Workers(addresses, 0), 0)


def test_a_wait_that_python_cannot_end_is_ended(addresses):
    program = (
        "from train.fit.rendezvous import *\n"
        "import ctypes\n"
        f"workers = Workers({addresses!r}, 0)\n"
        "with time_limit(workers, 60): pass\n"
        "with time_limit(workers, 0.1):\n"
        "    lock, library = ctypes.create_string_buffer(128), ctypes.PyDLL(None)\n"
        "    library.pthread_mutex_lock(lock)\n"
        "    library.pthread_mutex_lock(lock)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("error: TF_CONFIG lists workers that did not come: ")
    assert addresses[1] in done.stderr
