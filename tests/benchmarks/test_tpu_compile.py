"""The real TPU compiler takes the training step."""

import json
import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ["--length=16", "--batch_size=4"]

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") or sys.version_info < (3, 11),
    reason="libtpu is made for x86-64 Linux alone, and the JAX that drives it for Python 3.11",
)


def run(module, *arguments):
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_step_compiles_after_one_that_does_not(tmp_path):
    path = tmp_path / "rows.json"
    table = run(
        "tpu_compile",
        "--encoders=bert_tiny",
        "--lengths=16",
        "--batch_size=4",
        "--methods=top_layers,adapters",
        "--steps=train",
        "--topologies=v5e",
        f"--json={path}",
    )
    too_many, compiled = (row["result"] for row in json.loads(path.read_text()))
    assert "`top_layers` must be 1 to 2" in too_many["error"]
    assert too_many["error"] in table
    assert compiled["device_kind"] == "TPU v5 lite"
    # Two blocks with two adapters each, five LayerNorms, and the head.
    trained = 4 * (2 * 64 * 128 + 64 + 128) + 5 * 2 * 128 + 3 * (128 + 1)
    # What a step changes in place: what is trained, and two slots of the optimiser for each.
    state = 3 * 4 * trained
    assert state <= compiled["alias_bytes"] < 1.05 * state
    everything = 4 * (4_385_920 + trained - 5 * 2 * 128) + 8 * trained
    assert everything <= compiled["argument_bytes"] < 1.05 * everything
    assert compiled["flops"] > 0


def test_random_numbers_come_from_the_devices_generator(tmp_path):
    run("tpu_steps", "--encoder=bert_tiny", "--steps=train", f"--output_dir={tmp_path}", *SMALL)
    program = (tmp_path / "train.mlir").read_text()
    assert "algorithm = DEFAULT" in program
    assert "PHILOX" not in program
    assert "mhlo.copy" not in program


def test_an_unknown_choice_is_reported_with_those_that_there_are():
    command = [sys.executable, "-m", "benchmarks.tpu_compile", "--topologies=v5e,v1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--topologies takes v5e, v4, v5p, v6e, not v1" in done.stdout + done.stderr
