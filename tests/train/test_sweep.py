"""The command, with runs of its own: real ones, of an encoder that trains in a moment."""

import json
import os
import signal
import sys
import time

import pytest

from train.encoders.find import DEFAULT
from train.study.table import shown

TRAP = "TensorFlow was imported"
GRID = """
- tasks: csv
  adapter_sizes: [4]
  learning_rates: [{rates}]
  epochs_grid: [20]
  flags: {{train_file: [{files}]}}
"""
GOOD, BAD = (f"csv-adapters-size4-lr0.003-epochs20-train_file_{n}.csv-seed0" for n in ("t", "bad"))


@pytest.fixture(scope="module")
def here(make_tiny_folder, write_tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    make_tiny_folder(folder / "encoder")
    for seed, split in enumerate(("t", "dev", "test")):
        write_tiny_data(folder / f"{split}.csv", 64, seed)
    (folder / "bad.csv").write_text("text,label\nw1,0\nw2,1\nw3\n")
    traps = folder / "traps"
    traps.mkdir()
    for module in ("tensorflow", "tf_keras", "keras", "ray", "sklearn", "matplotlib"):
        (traps / f"{module}.py").write_text(f"raise SystemExit({TRAP!r})\n")
    return folder


@pytest.fixture(scope="module")
def sweep(run_command, here):
    """Runs the command with more flags, after writing the grid's file."""
    common = ["-m", "train.sweep", "--encoder=encoder", "--max_seq_length=16", "--batch_size=16"]
    common += ["--checkpoint_minutes=0.01", "--dev_file=dev.csv", "--test_file=test.csv"]
    common += ["--grid=grid.yaml", "--output_dir=out", "--runs_at_once=1"]

    def run(*flags, rates="3e-3", files="bad.csv, t.csv", **options):
        (here / "grid.yaml").write_text(GRID.format(rates=rates, files=files))
        return run_command(*common, *flags, cwd=here, **options)

    return run


def test_a_sweep_from_stop_to_end(sweep, here):
    out = here / "out"
    process = sweep(wait=False)
    while not list((out / "runs" / GOOD).glob("checkpoints/*.index")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, error
    assert "SIGTERM: the runs save their state and end" in error
    assert "Stopped: SIGTERM while running. The same command goes on from there." in error
    plan = json.loads((out / "sweep.json").read_text())["runs"]
    assert [run["name"] for run in plan] == [BAD, GOOD]
    assert plan[0]["flags"][4:6] == ["--epochs=20", "--train_file=bad.csv"]
    assert not (out / "runs" / GOOD / "results.json").exists()

    done = sweep()
    assert done.returncode == 1, done.err
    assert "Going on after step" in (out / "logs" / f"{GOOD}.txt").read_text()
    (line,) = [line for line in done.err.splitlines() if line.startswith(f"failed: {BAD}: ")]
    assert "bad.csv, line 4: " in line
    assert line.endswith(f"(exit status 1). See out/logs/{BAD}.txt")
    assert done.err.splitlines()[-1].startswith(f"error: 1 of 2 runs failed: {BAD}. The same")
    heading, row, *_ = done.out.splitlines()
    assert heading.split()[:4] == ["task", "method", "dev", "test"]
    assert row.startswith("csv   adapters 4  ")
    assert (out / "runs" / GOOD / "adapter" / "adapter.safetensors").exists()
    assert not (out / "runs" / GOOD / "saved_model").exists()  # None was asked for.

    written = (out / "sweep.json").read_bytes()
    done = sweep("--dry_run", "--runs_at_once=2", rates="3e-3, 1e-3", files="t.csv")
    assert done.returncode == 0, done.err
    assert f"{GOOD} (finished): --task=csv --method=adapters" in done.out
    assert f"{GOOD.replace('0.003', '0.001')} (to do): " in done.out
    assert "2 runs, 1 of them finished." in done.out
    assert " for 1 of the 1 others, 2 at once, judged by the 1 finished ones." in done.out
    assert (out / "sweep.json").read_bytes() == written

    done = sweep(files="t.csv")  # Nothing is left to do.
    assert (done.returncode, done.err) == (0, "")
    assert row in done.out


def test_the_closing_table_holds_runs_without_an_encoder(write_run, run_command, tmp_path):
    write_run(tmp_path / "a", dev=0.5, test=0.6)
    write_run(tmp_path / "b", method="full", dev=0.7, test=0.8)
    path = tmp_path / "b" / "config.json"
    config = {**json.loads(path.read_text()), "method": None, "search": {"trials": 20}}
    path.write_text(json.dumps(config))
    path = tmp_path / "b" / "results.json"
    results = {**json.loads(path.read_text()), "method": "no_bert", "encoder": None}
    path.write_text(json.dumps(results))
    # In a process of its own, for commands share the names of flags.
    code = "import types; from train.sweep import closing_table as table"
    code += f"; print(table(types.SimpleNamespace(runs={str(tmp_path)!r})))"
    heading, *rows, _ = run_command("-c", code, cwd=tmp_path).out.splitlines()
    assert heading.split()[:2] == ["task", "encoder"]
    assert sorted(row.split()[1] for row in rows) == sorted([DEFAULT, shown(None)])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "flag --output_dir=None"),
        ("--output_dir=x", "--tasks must name the tasks, or --grid a grid"),
        ("--tasks=csv --adapter_sise=8", "'adapter_sise'. Did you mean: adapter_sizes"),
        ("--tasks=csv --learning_rate=1", "'learning_rate'. Did you mean: learning_rates"),
        ("--tasks=rte,mnist --output_dir=x", "error: --tasks: flag --task=mnist: value should be"),
        ("--tasks=reuters_r8 --learning_rates=0 --output_dir=x", "--learning_rate must be above 0"),
        ("--tasks=reuters_r8 --learning_rates=x --output_dir=x", "--learning_rate=x: could not"),
        ("--tasks=reuters_r8 --seeds=0", "--seeds=0"),
        ("--tasks=reuters_r8 --train_sizes=all,0 --output_dir=x", "--max_train_examples must be"),
        ("--tasks=rte --grid=x.yaml --adapter_sizes=8 --output_dir=x", "--adapter_sizes and --gri"),
        ("--tasks=rte --grid=x.yaml --output_dir=x", "--grid=x.yaml cannot be read: No such"),
        ("--tasks=rte --methods=full --adapter_sizes=8 --output_dir=x", "goes with --methods=ad"),
        ("--grid=houlsby_extra --tasks=20_newsgroups --output_dir=x", "--top_layers does not fit"),
        ("--tasks=reuters_r8 --max_seq_length=999 --output_dir=x", "--max_seq_length must be 3 to"),
        ("--tasks=reuters_r8 --output_dir=encoder", "holds config.json, but no sweep.json"),
        ("--tasks=reuters_r8 --output_dir=x 8", "flags start with --: 8"),
    ],
)
def test_wrong_flags_are_one_error_at_once(run_command, here, flags, message):
    before = sorted(here.rglob("*"))
    path = os.pathsep.join([str(here / "traps"), *sys.path])
    environment = {"PYTHONPATH": path}
    done = run_command("-m", "train.sweep", *flags.split(), cwd=here, environment=environment)
    assert done.returncode == 1
    assert message in done.err
    assert TRAP not in done.err
    assert "Traceback" not in done.err
    assert (done.out, sorted(here.rglob("*"))) == ("", before)
