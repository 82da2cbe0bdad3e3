"""The README's snippets run, in its order, in one folder; its two commands exist."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```(python|bash)\n(.*?)```", README, re.DOTALL)
# The command as it stands trains for minutes; these flags change how long, not what.
SHORTER = ["--max_train_examples=32", "--epochs=1", "--max_seq_length=16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def test_there_is_a_snippet_for_each_use():
    assert [language for language, _ in SNIPPETS] == ["bash", "python", "python", "python"]


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippet_runs(number, folder):
    language, code = SNIPPETS[number]
    if language == "bash":
        python, *arguments = shlex.split(code)
        assert python == "python"
        command = [sys.executable, *arguments, *SHORTER]
    else:
        command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_its_commands_are_make_targets():
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^make (\w+)$", README, re.MULTILINE)
    assert commands == ["demo", "test"]
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
