"""The work on a Ray cluster of two machines, which are two sets of processes on one."""

import json
import os
import signal
import time

import pytest


@pytest.mark.long
def test_two_workers_share_the_work_and_any_process_may_be_killed(
    cluster, run_command, text_models, tmp_path
):
    marks = tmp_path / "marks"
    marks.mkdir()

    def marked(count, process):
        while len(list(marks.iterdir())) < count:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        return {int(path.name) for path in marks.iterdir()}

    # Both workers wait for the other; then, twice, for one more than there is. All rows of the
    # last gate wait, for one worker may hold several of them while another takes the rest.
    gates = {4: 2, 5: 2, 12: 3, 13: 3, **dict.fromkeys(range(20, 40), 5)}
    texts = [f"{gates[row]} {marks}" if row in gates else "x" for row in range(40)]
    texts[30] = None
    lines = [json.dumps({"text": text, "id": row}) + "\n" for row, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    command = ["-m", "train.predict", f"--saved_model={text_models['waits']}", "--input=a.jsonl"]
    command += ["--output=out", "--rows_per_part=1", "--batch_size=1", "--id_columns=id"]
    command += [f"--ray_address={cluster}"]
    first = run_command(*command, cwd=tmp_path, wait=False)
    early = marked(2, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    second = run_command(*command, cwd=tmp_path, wait=False)
    late = marked(4, second) - early
    os.kill(min(late), signal.SIGKILL)
    out, error = second.communicate()
    assert second.returncode == 0, error
    assert "40 rows, 1 of them malformed" in out
    assert len(list(marks.iterdir())) == 5
    parts = sorted((tmp_path / "out" / "predictions").iterdir())
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    assert [(row["file"], row["row"], row["id"]) for row in rows] == [
        ("a.jsonl", row, row) for row in range(40) if row != 30
    ]
    assert {row["value"] for row in rows} >= {float(max(late))}
    (malformed,) = (tmp_path / "out" / "malformed.jsonl").read_text().splitlines()
    assert json.loads(malformed)["row"] == 30


def test_what_is_wrong_on_a_worker_is_one_error(cluster, run_command, text_models, tmp_path):
    (tmp_path / "a.csv").write_text("text,text_pair\n" + "x,y\n" * 4)
    command = ["-m", "train.predict", f"--saved_model={text_models['many']}", "--input=a.csv"]
    command += ["--output=out", "--task=none", f"--ray_address={cluster}"]
    done = run_command(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.err.splitlines()[-1].startswith("error: --task=none is not one of this model")


def test_no_cluster_is_one_error(run_command, text_models, tmp_path):
    (tmp_path / "a.csv").write_text("text\nx\n")
    command = ["-m", "train.predict", f"--saved_model={text_models['text']}", "--input=a.csv"]
    command += ["--output=out", "--ray_address=127.0.0.1:9"]
    done = run_command(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.err.splitlines()[-1].startswith("error: there is no cluster at --ray_address=127")
