"""Trains tasks by several methods and seeds and prints the README's results table.

    python -m benchmarks.transfer --tasks=reuters_r8 --methods=adapters,full --seeds=3

Each run is a `python -m train.run` of its own, in a folder of its own under `--runs`; what
has finished there is not run again.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

FLAGS = flags.FLAGS

flags.DEFINE_list("tasks", ["reuters_r8"], "Tasks of train.run.")
flags.DEFINE_list("methods", ["adapters", "full"], "Transfer methods of train.run.")
flags.DEFINE_integer("seeds", 3, "Runs of each, with the seeds 0, 1, ...", lower_bound=1)
flags.DEFINE_list("flags", [], "Further flags of train.run, such as --precision=bfloat16.")
flags.DEFINE_string("runs", "runs/transfer", "Folder of the runs.")


def main(argv: Sequence[str]) -> None:
    """Runs what has not been run, then prints the table."""
    del argv
    rows = []
    for task in FLAGS.tasks:
        for method in FLAGS.methods:
            rows.append((task, method, [_run(task, method, seed) for seed in range(FLAGS.seeds)]))
    print("| task | method | score, % | trained, % | on disk, MB | examples/s | minutes |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(_line(*row))


def _run(task: str, method: str, seed: int) -> dict[str, Any]:
    folder = pathlib.Path(FLAGS.runs, f"{task}-{method}-{seed}")
    command = [sys.executable, "-m", "train.run", f"--task={task}", f"--method={method}"]
    command += [f"--seed={seed}", f"--output_dir={folder}", "--noexport", *FLAGS.flags]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def _line(task: str, method: str, runs: list[dict[str, Any]]) -> str:
    # GLUE and SQuAD publish no test labels. The main metric is the first.
    split = "test" if "test" in runs[0]["metrics"] else "dev"
    metric = next(iter(runs[0]["metrics"][split]))
    scores = [100 * run["metrics"][split][metric] for run in runs]
    spread = f"{statistics.mean(scores):.2f}"
    if len(runs) > 1:
        spread += f" ({min(scores):.2f} to {max(scores):.2f})"
    # A run of a few steps is too short to be timed.
    speeds = [run["examples_per_second"] for run in runs if run["examples_per_second"]]
    cells = [
        task,
        method,
        f"{split} {metric} {spread}",
        f"{runs[0]['parameters']['trained_percent']:.2f}",
        f"{runs[0]['adapter_bytes'] / 1e6:.1f}",
        f"{statistics.median(speeds):.0f}" if speeds else "",
        f"{statistics.median(run['seconds'] for run in runs) / 60:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    app.run(main)
