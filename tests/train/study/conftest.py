import json

import numpy as np
import pytest

from train.study.evidence import gather
from train.study.figures import figures

LEVELS = {"reuters_r8": 0.94, "mrpc": 0.86, "cola": 0.55, "squad": 0.85}


def make_study(folder, write_run, tasks=("reuters_r8", "mrpc"), seeds=3, sizes=(8, 64)):
    """Writes runs of all methods, of adapters' variants and of fewer examples."""
    rng = np.random.default_rng(0)
    numbers = iter(range(10**6))

    def write(task, gain, **settings):
        files = {} if task.startswith("reuters") else {"data_dir": "data"}
        level = LEVELS[task] + gain
        for seed in range(seeds):
            dev, test = (float(level + rng.normal(0, 0.004)) for _ in range(2))
            splits = {"dev": dev} if files else {"dev": dev, "test": test - 0.01}
            name = folder / f"run{next(numbers):04}"
            write_run(name, task, **splits, seed=seed, **files, **settings)

    for task in tasks:
        for size in sizes:
            for rate, gain in ((3e-4, -0.02), (3e-3, 0.0)):
                bend = 0.008 * np.log2(size / 8) - 0.002 * np.log2(size / 32) ** 2
                write(task, gain + bend, adapter_size=size, learning_rate=rate)
        for number in (1, 2, 4):
            rate = {"learning_rate": 5e-5}
            write(task, 0.015 * number - 0.06, method="top_layers", top_layers=number, **rate)
        for rate in (2e-5, 5e-5):
            write(task, 0.01 + 100 * rate, method="full", learning_rate=rate)
        write(task, -0.05, method="layer_norm")
        write(task, -0.15, method="feature_based")
    first = tasks[0]
    for init in (1e-7, 1e-4, 1e-1):
        write(first, -0.3 * init, adapter_size=64, insertion={"init_stddev": init})
    for change in ({"activation": "relu"}, {"form": "parallel", "scale": 4.0}):
        write(first, -0.01, adapter_size=64, insertion=change)
    for count in (30, 10):
        limit = {"max_train_examples": count, "results": {"examples": examples(count)}}
        write(first, -2 / count, adapter_size=64, **limit)
        write(first, -3 / count, method="full", learning_rate=5e-5, **limit)
    write_ablation(folder / "run0000", 6)
    return folder


def examples(count):
    return {"train": count, "dev": 50, "test": 50}


def write_ablation(run, layers):
    """Writes what removing adapters does to a run: the more, and the higher, the worse."""
    base = json.loads((run / "results.json").read_text())["metrics"]["dev"]["accuracy"]
    lost = [
        [i, j, max(0.5, base - 0.004 * (j - i + 1) ** 2 * (1 + j / layers))]
        for i in range(layers)
        for j in range(i, layers)
    ]
    content = {"split": "dev", "metric": "accuracy", "layers": layers, "base_score": base}
    content |= {"scores": lost, "majority_score": 0.5, "all_removed": lost[layers - 1][2]}
    (run / "ablation.json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def study(tmp_path_factory, write_run):
    """A folder of runs as a study of two tasks leaves them."""
    return make_study(tmp_path_factory.mktemp("study") / "runs", write_run)


@pytest.fixture(scope="session")
def evidence(study):
    """What the runs of `study` show."""
    return gather([study])


@pytest.fixture(scope="session")
def drawn(evidence):
    """Its figures."""
    return figures(evidence)
