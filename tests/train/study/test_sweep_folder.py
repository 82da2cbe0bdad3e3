import contextlib
import json

import pytest

from train.study.plan import Block, plan
from train.study.sweep_folder import PLAN, SweepFolder


def runs(*sizes, common=()):
    return plan([Block(("reuters_r8",), axes={"adapter_sizes": sizes})], common)


def add(path, planned):
    folder = SweepFolder(str(path))
    with contextlib.closing(folder.lock()):
        folder.add(planned)
    return folder


def planned_in(path):
    return [run["name"] for run in json.loads((path / PLAN).read_text())["runs"]]


def test_a_later_plan_may_add_runs_and_lack_some(tmp_path):
    path = tmp_path / "sweep"
    add(path, runs("8", "64"))
    add(path, runs("64", "16"))
    sizes = [name.split("-")[2] for name in planned_in(path)]
    assert sizes == ["size8", "size64", "size16"]


def test_a_run_of_the_same_name_must_have_the_same_flags(tmp_path):
    add(tmp_path, runs("8"))
    before = (tmp_path / PLAN).read_bytes()
    with pytest.raises(ValueError, match=r"run reuters_r8-adapters-size8-seed0 has other\s+flags"):
        add(tmp_path, runs("16", "8", common=["--batch_size=16"]))
    assert (tmp_path / PLAN).read_bytes() == before


def test_one_sweep_at_a_time(tmp_path):
    folder = SweepFolder(str(tmp_path))
    with contextlib.closing(folder.lock()), pytest.raises(OSError, match="is in use by process"):
        SweepFolder(str(tmp_path)).lock()


def test_how_far_a_run_is(tmp_path):
    folder = add(tmp_path, runs("8"))
    assert not folder.has_begun("a")
    folder.of_run("a").mkdir()
    results = folder.of_run("a") / "results.json"
    assert folder.has_begun("a")
    for text in ("", "{}", "[]", '{"metrics": 3}', "\0"):
        results.write_text(text)
        assert folder.results("a") is None
    results.write_text('{"metrics": {}}')
    assert folder.results("a") == {"metrics": {}}


def test_what_is_not_a_sweeps_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--output_dir must name a folder"):
        SweepFolder(str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"holds file, but no sweep\.json"):
        SweepFolder(str(tmp_path))
    for text in ("", "{}", '{"runs": [3]}', '{"runs": {}}'):
        (tmp_path / PLAN).write_text(text)
        with pytest.raises(ValueError, match=r"is damaged, or not one of train\.sweep"):
            SweepFolder(str(tmp_path))
