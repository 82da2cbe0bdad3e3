import json
import os
import sys

import pytest

TRAP = "TensorFlow was imported"
RESULTS = {
    "task": "csv",
    "seed": 0,
    "adapter_bytes": 1,
    "seconds": 1.0,
    "peak_memory_bytes": 1,
    "parameters": {"total": 10, "trained": 2, "trained_percent": 20.0},
    "metrics": {"dev": {"accuracy": 0.75, "macro_f1": 0.5}},
    "examples": {"train": 80, "dev": 20},
}


@pytest.fixture
def here(tmp_path):
    """A folder of runs that are only told to be there, where TensorFlow cannot be imported."""
    insertion = {"type": "bottleneck", "size": 8}
    adapters = {"insertion": insertion, "trains": "layer_norms", "top_layers": None}
    full = {"insertion": None, "trains": "all", "top_layers": None}
    config = {"task": "csv", "files": {}, "model": {"encoder": "x"}, "fit": {"seed": 0}, "keep": {}}
    methods = {"adapters": adapters, "full": full, "begun": adapters}
    for name, method in methods.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        path = tmp_path / "runs" / name
        (path / "config.json").write_text(json.dumps({**config, "method": method}))
        if name != "begun":
            (path / "results.json").write_text(json.dumps({**RESULTS, "method": name}))
    traps = tmp_path / "traps"
    traps.mkdir()
    for module in ("tensorflow", "tf_keras", "keras", "ray", "sklearn", "matplotlib"):
        (traps / f"{module}.py").write_text(f"raise SystemExit({TRAP!r})\n")
    return tmp_path


@pytest.fixture
def ablate(run_command, here):
    path = os.pathsep.join([str(here / "traps"), *sys.path])

    def run(*flags):
        command = ["-m", "train.ablate", *flags]
        return run_command(*command, cwd=here, environment={"PYTHONPATH": path})

    return run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--run must name a run's folder, or --runs a folder of several"),
        ("--run=gone", "--run=gone is not a folder"),
        ("--run=runs", "--run=runs: it is not a run"),
        ("--run=runs/full", "--run=runs/full has no adapters: its method is full"),
        ("--run=runs/begun", "--run=runs/begun: it has not finished"),
        ("--run=runs/adapters --split=test", "evaluated on, dev. Received: 'test'"),
        ("--run=runs/adapters --runs=runs", "must not name a run twice"),
        ("--runs=runs/full", "--runs=runs/full holds no finished run with adapters"),
        ("--run=runs/adapters --output_dir=runs/full/config.json", "config.json"),
        ("--run=runs/adapters x", "flags start with --: x"),
        ("--spilt=dev", "Did you mean: split"),
    ],
)
def test_what_is_wrong_is_one_error_before_tensorflow(ablate, here, flags, message):
    before = sorted(here.rglob("*"))
    done = ablate(*flags.split())
    assert done.returncode == 1
    assert message in done.err
    assert TRAP not in done.err
    assert "Traceback" not in done.err
    assert (done.out, sorted(here.rglob("*"))) == ("", before)


def test_of_a_folder_those_with_adapters_are_taken(ablate):
    done = ablate("--runs=runs")
    assert "Left out: runs/begun: it has not finished" in done.err
    assert "Left out: runs/full: it has no adapters" in done.err
    assert TRAP in done.err
