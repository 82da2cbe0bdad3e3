"""Commands on Ray: on this machine, and on a cluster of two that are sets of processes here."""

import json
import os
import signal
import subprocess
import time

import pytest

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

    def begin(*names, address=None, at_once=2):
        arguments = json.dumps([names, address, at_once])
        return run_command("-c", DRIVER, arguments, cwd=tmp_path, wait=False)

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_of_the_whole_lets_commands_save(start, marks, tmp_path, number):
    driver = start("a", "b", "c")
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
