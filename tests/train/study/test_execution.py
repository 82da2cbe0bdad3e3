"""Commands on Ray: on this machine, and on a cluster of two that are sets of processes here."""

import collections
import contextlib
import io
import json
import os
import signal
import subprocess
import time
import types

import pytest

from train.ray_extra import Share
from train.study import execution

# A stand-in for a run: it locks its folder, leaves a mark, and waits to be let go; at SIGTERM it
# takes its time to save.
COMMAND = """
import os, pathlib, signal, sys, time
from train.folder_lock import FolderLock
folder, marks = map(pathlib.Path, sys.argv[1:])
lock = FolderLock(folder, "output_dir")
def save(number, frame):
    time.sleep(0.5)
    (marks / f"{folder.name} saved {os.getpid()}").touch()
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
(marks / f"{folder.name} begun {os.getpid()}").touch()
print("threads", os.environ["TF_NUM_INTRAOP_THREADS"], flush=True)
while not (marks / "go").exists():
    time.sleep(0.05)
if folder.name == "bad":
    print("a word\\nerror: it is bad\\nanother", file=sys.stderr)
    sys.exit(1)
"""
DRIVER = """
import json, pathlib, sys
from train.fit.interruptions import Interruptions, Preempted, end_process
from train.study.execution import Command, execute
names, address, at_once = json.loads(sys.argv[1])
here = pathlib.Path.cwd()
commands = [
    Command(n, ("../command.py", f"../{n}", "../marks"), here / n, here / f"{n}.txt", here / "cwd")
    for n in names
]
ended, most = {}, 0
def tell(running, one):
    global most
    most = max(most, running)
    if one:
        ended[one.name] = one.problem
try:
    with Interruptions() as asked:
        stop = lambda: asked.asked is not None
        execute(commands, address, at_once, tell, stop, asked.deferred)
except Preempted as error:
    print(json.dumps([ended, most]), flush=True)
    end_process(error)
print(json.dumps([ended, most]))
"""


@pytest.fixture
def start(run_command, tmp_path):
    """Starts commands of these names."""
    (tmp_path / "command.py").write_text(COMMAND)
    for name in ("marks", "cwd"):
        (tmp_path / name).mkdir()

    def begin(*names, address=None, at_once=2, first=""):
        arguments = json.dumps([names, address, at_once])
        return run_command("-c", first + DRIVER, arguments, cwd=tmp_path, wait=False)

    return begin


@pytest.fixture
def marks(tmp_path):
    """Waits until there are marks of a kind; returns the processes that left them, in order."""

    def wait(name, what, count, process=None):
        while True:
            paths = sorted((tmp_path / "marks").glob(f"{name} {what} *"), key=os.path.getmtime)
            if len(paths) >= count:
                return [int(path.name.split()[-1]) for path in paths]
            assert process is None or process.poll() is None, process.communicate()
            time.sleep(0.05)

    return wait


def parent_of(process):
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(process)]))


def test_a_killed_workers_command_ends_and_is_run_again(cluster, start, marks, tmp_path):
    driver = start("a", "b", address=cluster)
    (first,) = marks("a", "begun", 1, driver)
    marks("b", "begun", 1, driver)
    os.kill(parent_of(parent_of(first)), signal.SIGKILL)  # The guard's parent: Ray's worker.
    assert marks("a", "saved", 1, driver) == [first]
    _, second = marks("a", "begun", 2, driver)
    assert second != first
    (tmp_path / "marks" / "go").touch()
    out, error = driver.communicate()
    assert driver.returncode == 0, error
    assert json.loads(out.splitlines()[-1]) == [{"a": None, "b": None}, 2]
    assert len(marks("b", "begun", 1)) == 1


def test_what_fails_is_told_while_the_rest_goes_on(cluster, start, marks, tmp_path):
    driver = start("bad", "good", "late", address=cluster, at_once=1)
    marks("bad", "begun", 1, driver)
    assert not (tmp_path / "good").exists()
    (tmp_path / "marks" / "go").touch()
    out, error = driver.communicate()
    assert driver.returncode == 0, error
    problem = "it is bad (exit status 1)"
    assert json.loads(out.splitlines()[-1]) == [{"bad": problem, "good": None, "late": None}, 1]
    assert (tmp_path / "good.txt").read_text() == "threads 1\n"  # Each machine has one processor.


# As a shell starts a command in the background.
IGNORED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"


@pytest.mark.parametrize(
    ("number", "first"), [(signal.SIGTERM, ""), (signal.SIGTERM, IGNORED), (signal.SIGKILL, "")]
)
def test_an_end_of_the_whole_lets_commands_save(start, marks, tmp_path, number, first):
    driver = start("a", "b", "c", first=first)
    begun = {*marks("a", "begun", 1, driver), *marks("b", "begun", 1, driver)}
    driver.send_signal(number)
    out, error = driver.communicate()
    if number == signal.SIGTERM:
        assert driver.returncode == 128 + number, error
        assert json.loads(out.splitlines()[-1]) == [{}, 2]
        assert "a second signal stops it at once" in error
        assert len(list((tmp_path / "marks").glob("* saved *"))) == 2  # It was waited for.
    assert {*marks("a", "saved", 1), *marks("b", "saved", 1)} == begun
    assert not (tmp_path / "c").exists()


class DeafRay:
    """A Ray whose workers miss the first cancellation of each task."""

    def __init__(self):
        self.cancelled = collections.Counter()
        self.exceptions = types.SimpleNamespace(RayTaskError=KeyError, RayError=LookupError)

    def remote(self, **_):
        return lambda _: types.SimpleNamespace(remote=lambda command, _: command.name)

    def cancel(self, reference):
        self.cancelled[reference] += 1

    def wait(self, references, timeout):
        done = [reference for reference in references if self.cancelled[reference] > 1]
        return done, [reference for reference in references if reference not in done]

    def get(self, reference):
        raise LookupError(reference)


def test_a_cancellation_that_a_worker_misses_is_sent_again(monkeypatch, tmp_path):
    ray, told = DeafRay(), []
    monkeypatch.setattr(execution, "connect", lambda address: contextlib.nullcontext(ray))
    monkeypatch.setattr(execution, "_share", lambda ray, at_once: Share(2, 1.0, 0))
    commands = [execution.Command(n, (), tmp_path / n, tmp_path / n, "") for n in "abc"]
    asked = iter([False, *[True] * 9])
    execution.execute(
        commands,
        None,
        2,
        lambda running, ended: told.append(ended),
        lambda: next(asked),
        contextlib.nullcontext,
    )
    assert ray.cancelled == {"a": 2, "b": 2}
    assert not any(told)


def test_a_command_is_waited_for_however_often_ray_interrupts():
    answers = [KeyboardInterrupt, KeyboardInterrupt, 7]

    class Process:
        stdin = io.BytesIO()

        def wait(self):
            answer = answers.pop(0)
            if answer is KeyboardInterrupt:
                raise answer
            return answer

    process = Process()
    assert execution._end(process) == 7
    assert process.stdin.closed
