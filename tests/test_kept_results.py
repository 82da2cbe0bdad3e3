"""The results that the docs show come out of the runs that are kept beside them."""

import pathlib

from train.study.evidence import gather
from train.study.figures import figures
from train.study.tables import tables

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "docs" / "results"


def test_the_kept_runs_give_the_kept_report(monkeypatch):
    monkeypatch.chdir(RESULTS.parents[1])
    evidence = gather(["docs/results/runs"])
    expected = {table.name: table.to_markdown() for table in tables(evidence)}
    assert "results-minilm_l6-500" in expected
    kept = {path.stem: path.read_text() for path in (RESULTS / "report/tables").glob("*.md")}
    # Below a heading and a note.
    assert {name: text.split("\n\n", 2)[2] for name, text in kept.items()} == expected
    drawn = {f"{figure.name}.svg" for figure in figures(evidence).figures}
    assert {path.name for path in (RESULTS / "report/figures").glob("*.svg")} == drawn
