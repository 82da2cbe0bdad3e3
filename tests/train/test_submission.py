import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

from train.objectives.text.predictions import FILES, write_zip
from train.submission import collect


@pytest.fixture
def run(tmp_path):
    """Makes the folder of a run with predictions."""

    def run(folder, *names, finished=True):
        predictions = tmp_path / "runs" / folder / "predictions"
        predictions.mkdir(parents=True)
        for name in names:
            (predictions / f"{name}.tsv").write_bytes(f"index\tprediction\n0\t{name}\n".encode())
        if finished:
            (predictions.parent / "results.json").write_text("{}")
        return tmp_path / "runs"

    return run


def test_finished_runs_are_collected_in_the_order_of_files(run):
    run("deep/rte", "RTE")
    run("mnli", "AX", "MNLI-mm", "MNLI-m")
    runs = run("cola", "CoLA", finished=False)
    assert list(collect(runs)) == ["MNLI-m", "MNLI-mm", "RTE", "AX"]
    assert collect(runs / "deep/rte") == {"RTE": runs / "deep/rte/predictions/RTE.tsv"}


def test_two_runs_of_one_split_are_an_error(run):
    run("rte-seed0", "RTE")
    runs = run("rte-seed1", "RTE", "CoLA")
    with pytest.raises(ValueError, match=r"predicted RTE: .*seed0.* and .*seed1.*--runs"):
        collect(runs)


def test_nothing_to_collect_is_an_error(run, tmp_path):
    runs = run("cola", "CoLA", finished=False)
    run("other", "SQuAD")
    for folder in (runs, tmp_path / "gone"):
        with pytest.raises(ValueError, match="holds no finished run with predictions of GLUE"):
            collect(folder)


def test_the_zip_holds_the_files_byte_for_byte(run, tmp_path):
    files = collect(run("all", *FILES))
    write_zip(tmp_path / "out" / "a.zip", files)
    with zipfile.ZipFile(tmp_path / "out" / "a.zip") as archive:
        assert archive.namelist() == [f"{name}.tsv" for name in FILES]
        for name in FILES:
            assert archive.read(f"{name}.tsv") == f"index\tprediction\n0\t{name}\n".encode()
    os.utime(files["CoLA"], (1, 1))
    write_zip(tmp_path / "out" / "b.zip", files)
    assert (tmp_path / "out/a.zip").read_bytes() == (tmp_path / "out/b.zip").read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.zip", "b.zip"]


def test_a_zip_that_cannot_be_made_leaves_what_was_there(tmp_path):
    (tmp_path / "a.zip").write_text("old")
    with pytest.raises(FileNotFoundError):
        write_zip(tmp_path / "a.zip", {"CoLA": tmp_path / "gone.tsv"})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def command(folder, *flags):
    return subprocess.run(
        [sys.executable, "-m", "train.submission", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_what_is_missing(run, tmp_path):
    run("mnli", "AX", "MNLI-mm", "MNLI-m")
    run("rest", *[name for name in FILES if name[:2] not in ("MN", "AX", "WN", "QQ")])
    done = command(tmp_path, "--runs=runs")
    assert done.returncode == 0, done.stderr
    assert "submission.zip holds CoLA, SST-2, MRPC, STS-B, MNLI-m" in done.stdout
    assert "It lacks QQP, WNLI;" in done.stdout
    assert zipfile.is_zipfile(tmp_path / "submission.zip")


def test_the_command_reports_errors_in_a_line(run, tmp_path):
    run("a", "RTE")
    run("b", "RTE")
    done = command(tmp_path, "--runs=runs", "--output=out.zip")
    assert done.returncode == 1
    assert done.stderr.startswith("error: two runs have predicted RTE")
    assert not pathlib.Path(tmp_path, "out.zip").exists()
