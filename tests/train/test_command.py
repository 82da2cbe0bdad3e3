"""What a command does where standard streams are closed, full, or nobody reads them."""

import os
import platform
import subprocess
import sys

import pytest

COMMAND = """
import os, sys
from train import command

def main(argv):
    with open("file", "w") as file:
        for index in range(3):
            print(index, "\\u00e9")
            print("bar", index, end="\\r", file=sys.stderr)
            os.write(2, b"C++")  # As libraries do.
            file.write(f"{index}")

command.run(main, outlives_readers=OUTLIVES)
"""

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "ascii"}
BARS = b"bar 0\rC++bar 1\rC++bar 2\rC++"
WORDS = b"0 \\xe9\n1 \\xe9\n2 \\xe9\n"


@pytest.fixture
def run(tmp_path):
    def run(outlives=True, closed=(), **options):
        for name in ("stdout", "stderr"):
            options.setdefault(name, subprocess.PIPE)
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND.replace("OUTLIVES", str(outlives))],
            cwd=tmp_path,
            env={**os.environ, **ENVIRONMENT},
            preexec_fn=lambda: [os.close(number) for number in closed],
            **options,
        )
        out, error = process.communicate()
        return process.returncode, out, error, (tmp_path / "file").read_text()

    return run


@pytest.fixture
def pipe_without_reader():
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def test_a_reader_that_stays_gets_all(run):
    assert run() == (0, WORDS, BARS, "012")


def test_work_outlives_the_reader_of_its_words(run, pipe_without_reader):
    code, _, error, file = run(stdout=pipe_without_reader)
    said = b"standard output cannot be written (Broken pipe): going on without it\n"
    assert (code, error, file) == (0, said + BARS, "012")


def test_work_outlives_the_reader_of_its_errors(run, pipe_without_reader):
    assert run(stderr=pipe_without_reader) == (0, WORDS, None, "012")


def test_work_outlives_a_full_disk(run):
    with open("/dev/full", "w") as full:
        code, _, error, file = run(stdout=full)
    assert (code, file) == (0, "012")
    assert error.startswith(b"standard output cannot be written (No space left on device)")


def test_what_answers_a_reader_ends_with_it(run, pipe_without_reader):
    assert run(outlives=False, stdout=pipe_without_reader)[:2] == (128 + 13, None)


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_no_file_takes_the_place_of_a_closed_stream(closed, run):
    code, out, error, file = run(closed=closed)
    assert (code, file) == (0, "012")
    assert out == (b"" if 1 in closed else WORDS)
    assert error == (b"" if 2 in closed else BARS)


@pytest.fixture
def printed(tmp_path):
    """Returns what a command prints of TensorFlow, in an environment that says this of it."""

    def printed(expression, **said):
        code = (
            "import sys; from train import command\n"
            "def main(argv):\n"
            "    from tensorflow.python.util import _pywrap_util_port as port\n"
            f"    print({expression})\n"
            "command.run(main)"
        )
        usual = ("TF_USE_LEGACY_KERAS", "TF_ENABLE_ONEDNN_OPTS")
        environment = {name: value for name, value in os.environ.items() if name not in usual}
        environment |= {"PYTHONPATH": os.pathsep.join(sys.path), **said}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    return printed


def test_tensorflow_brings_the_keras_that_computes_here_and_no_other(printed):
    assert printed("'keras' in sys.modules") == "False"


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="other builds of TensorFlow have no oneDNN, or one that this says nothing to",
)
def test_tensorflow_computes_by_one_dnn_unless_it_is_told_otherwise(printed):
    enabled = "port.IsMklEnabled()"
    assert printed(enabled) == "True"
    assert printed(enabled, TF_ENABLE_ONEDNN_OPTS="0") == "False"
