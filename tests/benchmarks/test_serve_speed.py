import json
import os
import subprocess
import sys

import pytest

from benchmarks import serve_speed_timing
from benchmarks.serve_speed_report import table


def results():
    cases = [
        {"name": "3 words", "texts": 2, "batch_size": 1},
        {"name": "long", "texts": 4, "batch_size": 2},
    ]

    def side(factor):
        return {
            "cases": {
                "3 words": {"whole": [0.004 * factor, 0.003 * factor], "model": [0.002 * factor]},
                "long": {"whole": [2.0 * factor]},
            },
            "import_seconds": factor,
            "load_seconds": factor,
            "first_answer_seconds": factor,
            "seconds_to_first_answer": factor,
            "peak_memory_bytes": 1e6 * factor,
        }

    return {"cases": cases, "pairs": [{"ours": side(1), "theirs": side(2)}] * 2}


def test_a_ratio_above_one_says_that_ours_is_the_faster():
    lines = table(results())
    assert "| 3 words, ms | 1.75 | 3.50 | 2.00 (2.00 to 2.00) |" in lines
    assert "| long, texts/s | 2.0 | 1.0 | 2.00 (2.00 to 2.00) |" in lines
    assert "| 3 words, tokens and answer, ms | 0.50 | 1.00 |  |" in lines
    assert "| peak memory, MB | 1 | 2 | 2.00 (2.00 to 2.00) |" in lines


def test_all_texts_are_timed_and_the_first_pass_is_not(tmp_path):
    case = {"name": "a", "texts": list("abcde"), "batch_size": 2, "repeats": 3}
    (tmp_path / "cases.json").write_text(json.dumps([case, {**case, "batch_size": 1}]))
    several, single = serve_speed_timing.read_cases(tmp_path / "cases.json")
    seen = []
    found = serve_speed_timing.measure([several], seen.append, list, list)
    assert seen == 4 * [["a", "b"], ["c", "d"], ["e"]]
    assert {name: len(each) for name, each in found["a"].items()} == {"whole": 3}
    found = serve_speed_timing.measure([single], len, lambda batch: batch[0], seen.append)
    assert {name: len(each) for name, each in found["a"].items()} == {"whole": 3, "model": 3}
    assert seen[-5:] == list("abcde")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--lengths=2", "--lengths must be 3 to 128. Received: 2"),
        ("--plot=a.pdf", "--plot must end in .svg or .png. Received: a.pdf"),
        ("--plot=a.svg", "--plot is of --lengths"),
        ("surplus", "unexpected arguments"),
    ],
)
def test_a_wrong_flag_is_told_before_anything_is_measured(flag, message, tmp_path):
    command = [sys.executable, "-m", "benchmarks.serve_speed", flag, f"--work_dir={tmp_path / 'a'}"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "a").exists()
