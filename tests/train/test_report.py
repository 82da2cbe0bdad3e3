"""The command that reports on finished runs."""

import os
import subprocess
import sys

import pytest

from train.report import check_output
from train.study.page import GENERATOR

# Runs the command, and says whether it has imported what it need not.
PROGRAM = """
import runpy, sys
sys.argv[0] = "train.report"
try:
    runpy.run_module("train.report", run_name="__main__", alter_sys=True)
finally:
    print(*sorted({"tensorflow", "ray", "matplotlib"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def runs(tmp_path, write_run):
    for size in (8, 64):
        write_run(tmp_path / f"runs/{size}", adapter_size=size, test=0.75)
    return tmp_path / "runs"


def report(folder, *flags):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_report_is_written_and_told(runs, tmp_path):
    (runs / "begun").mkdir()
    (runs / "begun/config.json").write_text('{"task": "mnli"}')
    done = report(tmp_path, "--runs=runs", "--output_dir=out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.split() == ["matplotlib"]
    lines = done.stdout.splitlines()
    assert lines[0] == "Methods: minilm_l6, all training examples"
    assert lines[2].startswith("adapters, best of 8, 64 ")
    assert "75.00 (1)" in lines[2]
    assert "left out: runs/begun: it has not finished: there is no results.json" in lines
    assert lines[-2:] == ["2 runs, 4 tables, 1 figures", "out/index.html"]
    first = contents(tmp_path / "out")
    assert set(first) == {
        "index.html",
        *(
            f"tables/{name}.{kind}"
            for name in ("results-minilm_l6-all", "sizes-minilm_l6-all", "selected", "runs")
            for kind in ("csv", "md")
        ),
        "figures/parameters-reuters_r8-minilm_l6-all.png",
        "figures/parameters-reuters_r8-minilm_l6-all.svg",
    }
    # Once more, onto the first: the same bytes.
    done = report(tmp_path, "--runs=runs/8", "--runs=runs", "--output_dir=out")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == first


def test_errors_are_a_line_and_change_nothing(runs, tmp_path):
    (tmp_path / "file").write_text("x")
    before = contents(tmp_path)
    for flags, message in (
        (["--runs=runs", "--output_dir=runs"], "--output_dir=runs holds something else than a"),
        (["--runs=gone", "--output_dir=out"], "gone is not a folder"),
        (["--runs=runs", "--output_dir=file/out"], "--output_dir=file/out cannot be written"),
    ):
        done = report(tmp_path, *flags)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert message in error
        assert contents(tmp_path) == before


def test_only_a_report_is_replaced(tmp_path):
    check_output(tmp_path)
    check_output(tmp_path / "new")
    (tmp_path / "index.html").write_text(f'<meta content="{GENERATOR}">')
    check_output(tmp_path)
    (tmp_path / "index.html").write_text("my own page")
    with pytest.raises(FileExistsError, match="holds something else than a report"):
        check_output(tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        check_output(tmp_path / "index.html")


def test_both_flags_are_required(tmp_path):
    done = report(tmp_path, "--output_dir=out")
    assert done.returncode == 1
    assert "--runs" in done.stderr
