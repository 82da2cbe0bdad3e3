import os
import signal
import subprocess
import sys
import time

import pytest

# Says that it is there, and after SIGTERM that it ends; a second word lets it not end.
CHILD = """
import os, signal, sys, time
def end(number, frame):
    open(sys.argv[1], "w").close()
    if len(sys.argv) < 3:
        sys.exit(5)
signal.signal(signal.SIGTERM, end)
print(os.getpid(), flush=True)
while True:
    time.sleep(0.05)
"""
IMPATIENT = """
import sys
from train.study import guard
guard.GRACE_SECONDS = 0.1
sys.exit(guard.main(sys.argv[1:]))
"""


def guarded(*command, starter=("-m", "train.study.guard")):
    return subprocess.Popen(
        [sys.executable, *starter, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )


@pytest.fixture
def child(tmp_path):
    return [sys.executable, "-c", CHILD, str(tmp_path / "told")]


def wait_for(path):
    while not path.exists():
        time.sleep(0.02)


def test_the_exit_status_is_the_commands():
    assert guarded("sh", "-c", "exit 3").wait() == 3
    assert guarded("sh", "-c", "kill -KILL $$").wait() == 128 + signal.SIGKILL


def test_a_closed_pipe_ends_the_command(child, tmp_path):
    guard = guarded(*child)
    guard.stdout.readline()
    assert guard.poll() is None
    guard.stdin.close()
    assert guard.wait() == 5
    assert (tmp_path / "told").exists()


def test_a_command_that_does_not_end_is_killed(child):
    guard = guarded(*child, "stay", starter=("-c", IMPATIENT))
    guard.stdout.readline()
    guard.stdin.close()
    assert guard.wait() == 128 + signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="others tell no child of its parent's death")
def test_the_guards_own_death_ends_the_command(child, tmp_path):
    guard = guarded(*child)
    guard.stdout.readline()
    guard.kill()
    wait_for(tmp_path / "told")
