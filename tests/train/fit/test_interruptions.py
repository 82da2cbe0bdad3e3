import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from train.fit.interruptions import Interruptions, Preempted

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# A process that says how it ends; `wait` is what it does meanwhile.
PROGRAM = """
import ctypes, sys, time
from train.fit.interruptions import Interruptions, Preempted, end_process

def wait():
    if "deep" in sys.argv:  # A lock that is held already: no signal ends the call.
        lock, library = ctypes.create_string_buffer(128), ctypes.CDLL(None)
        library.pthread_mutex_lock(lock)
        library.pthread_mutex_lock(lock)
    time.sleep(3600)

try:
    with Interruptions() as interruptions, interruptions.during("doing this"):
        if "deferred" in sys.argv:
            with interruptions.deferred():
                print("ready", flush=True)
                wait()
        print("ready", flush=True)
        wait()
except Preempted as error:
    end_process(error)
"""


@pytest.fixture(autouse=True)
def heard():
    """No signal is ignored, as all but SIGTERM may be where the tests run."""
    former = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture
def start():
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_what_goes_on_at_once_and_says_what_it_was(number):
    handlers = [signal.getsignal(each) for each in SIGNALS]

    def ask():
        with Interruptions() as interruptions, interruptions.during("writing the SavedModel"):
            os.kill(os.getpid(), number)
            signal.pause()  # Not reached, or ended by the handler.

    with pytest.raises(Preempted, match="while writing the SavedModel") as error:
        ask()
    assert error.value.signum == number
    assert str(error.value).startswith(f"{signal.Signals(number).name} while")
    assert [signal.getsignal(each) for each in SIGNALS] == handlers
    assert signal.set_wakeup_fd(-1) == -1


def test_no_errors_handler_catches_it():
    def ask():
        with Interruptions():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            except Exception:
                pytest.fail("it was taken for an error")

    with pytest.raises(Preempted, match="SIGTERM while starting"):
        ask()


def test_a_deferred_block_goes_on_and_looks_itself():
    done = []

    def ask():
        with Interruptions() as interruptions:
            with interruptions.deferred():
                os.kill(os.getpid(), signal.SIGHUP)
                done.append(interruptions.asked)
            done.append("the rest")

    with pytest.raises(Preempted, match="SIGHUP"):  # It is not lost when nobody looks.
        ask()
    assert done == [signal.SIGHUP, "the rest"]


def test_what_another_handler_took_is_taken_back():
    def ask():
        with Interruptions() as interruptions:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # As TensorFlow does among workers.
            with interruptions.during("evaluating"):
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()

    with pytest.raises(Preempted, match="while evaluating"):
        ask()


def test_what_was_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruptions() as interruptions, interruptions.deferred():
        os.kill(os.getpid(), signal.SIGHUP)
        assert interruptions.asked is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_in_another_thread_it_does_without():
    seen = []

    def work():
        with Interruptions() as interruptions, interruptions.during("anything"):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize(
    ("number", "where"), [*((number, []) for number in SIGNALS), (signal.SIGTERM, ["deep"])]
)
def test_the_first_ends_a_process_that_is_not_training(number, where, start):
    process = start(*where)
    process.send_signal(number)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 128 + number
    name = signal.Signals(number).name
    assert (
        error.strip() == f"Stopped: {name} while doing this. The same command goes on from there."
    )


@pytest.mark.parametrize("where", [[], ["deep"]], ids=["python", "c"])
def test_the_second_ends_a_training_at_once(where, start):
    process = start("deferred", *where)
    while process.poll() is None:  # What comes right after the first is its echo.
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, error = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert "Stopped: SIGINT, the second signal." in error
    assert "Traceback" not in error
