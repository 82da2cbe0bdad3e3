"""The README's snippets and the examples run, in one folder; commands and links exist."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
SNIPPETS = re.findall(r"```(python|bash)\n(.*?)```", README, re.DOTALL)
# The command as it stands trains for minutes; these flags change how long, not what.
SHORTER = ["--max_train_examples=32", "--epochs=1", "--max_seq_length=16"]
SAVED_MODEL = "runs/reuters_r8-adapters64-seed0/saved_model"


@pytest.fixture(scope="module")
def run_in_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")

    def run(*arguments, **environment):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_there_is_a_snippet_for_each_use():
    assert [language for language, _ in SNIPPETS] == ["bash", "python", "python"]


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippet_runs(number, run_in_folder):
    language, code = SNIPPETS[number]
    if language == "bash":
        python, *arguments = shlex.split(code)
        assert python == "python"
        run_in_folder(*arguments, *SHORTER)
    else:
        assert run_in_folder("-c", code)


def test_example_of_the_saved_model_runs(run_in_folder):
    script = str(ROOT / "examples" / "call_saved_model.py")
    lines = run_in_folder(script, SAVED_MODEL, "net profit rose", "crude oil").splitlines()
    assert [line.split("\t")[2] for line in lines] == ["net profit rose", "crude oil"]


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_example_of_the_keras_3_layer_runs(backend, run_in_folder):
    script = str(ROOT / "examples" / "keras3_layer.py")
    printed = run_in_folder(script, KERAS_BACKEND=backend)
    accuracy = float(printed.rsplit(" ", 1)[1])
    assert accuracy > 0.9, printed


@pytest.mark.long
def test_example_of_an_official_encoder_runs(run_in_folder, minilm):
    script = str(ROOT / "examples" / "official_encoder.py")
    lines = run_in_folder(script, f"--encoder={minilm.folder}").splitlines()
    assert [line.split()[0] for line in lines[-6:]] == ["earnings", "crude"] * 3


def test_its_commands_are_make_targets():
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^make (\w+)$", README, re.MULTILINE)
    assert commands == ["demo", "test"]
    for page in PAGES:
        for command in re.findall(r"`?make ([\w-]+)`", page.read_text(encoding="utf-8")):
            assert re.search(rf"^{command}:", makefile, re.MULTILINE), f"{page}: make {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_it_is_short():
    assert len(README.splitlines()) <= 150
