import json
import pathlib
import subprocess
import sys

from train.tasks.files import DataFiles
from train.tasks.table import TASKS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def export(*flags):
    command = [sys.executable, "-m", "benchmarks.export_splits", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_lines_are_the_tasks_examples_in_their_order(tmp_path):
    done = export("--task=book_excerpts", f"--output={tmp_path / 'new' / 'books'}")
    assert done.returncode == 0, done.stderr
    data = TASKS["book_excerpts"].read(DataFiles())
    for split in ("train", "dev", "test"):
        examples = getattr(data, split)
        text = (tmp_path / "new" / "books" / f"{split}.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["text"] for line in lines] == examples.columns[0]
        labels = [data.label_names.index(line["label"]) for line in lines]
        assert labels == examples.labels.tolist()


def test_pairs_and_values_are_refused(tmp_path):
    for task in ("rte", "stsb", "squad"):
        done = export(f"--task={task}", f"--output={tmp_path / 'x'}")
        assert done.returncode == 1
        assert f"--task={task}" in done.stderr + done.stdout
    assert not (tmp_path / "x").exists()
