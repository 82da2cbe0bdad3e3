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


@pytest.mark.long
def test_a_step_compiles_after_one_that_does_not(tmp_path):
    path = tmp_path / "rows.json"
    table = run(
        "tpu_compile",
        "--encoders=bert_tiny",
        "--lengths=128",
        "--batch_size=8",
        "--methods=top_layers,adapters",
        '--adapter={"form": "parallel"}',
        "--steps=train",
        "--topologies=v5e",
        "--packed=glue_like",
        "--explain=3",
        f"--json={path}",
    )
    rows = [(row["case"], row["result"]) for row in json.loads(path.read_text())]
    failed, padded, packed = rows[:2], rows[2][1], rows[3][1]
    assert rows[3][0]["rows"] < rows[2][0]["batch_size"] == 8
    for _, row in failed:
        assert "`top_layers` must be 1 to 2" in row["error"]
        assert row["error"] in table
    # Two blocks with two adapters each, five LayerNorms, and the head.
    trained = 4 * (2 * 64 * 128 + 64 + 128) + 5 * 2 * 128 + 3 * (128 + 1)
    # What a step changes in place: what is trained, and two slots of the optimiser for each.
    state = 3 * 4 * trained
    # What does not train is there in bfloat16 alone, but for biases.
    frozen = 4_385_920 - 5 * 2 * 128
    everything = 2 * frozen + 4 * trained + 8 * trained
    assert padded["device_kind"] == "TPU v5 lite"
    assert state <= padded["alias_bytes"] < 1.05 * state
    assert everything <= padded["argument_bytes"] < 1.05 * everything
    assert 0 < packed["flops"] < padded["flops"]
    assert 0 < padded["hbm_bytes"] <= padded["bytes_accessed"]
    assert f"{padded['hbm_bytes'] / 1e6:.0f} MB to and from HBM" in table


def test_masks_are_neither_random_operations_nor_constants(tmp_path):
    run("tpu_steps", "--encoder=bert_tiny", "--steps=train", f"--output_dir={tmp_path}", *SMALL)
    program = (tmp_path / "train.mlir").read_text()
    assert "rng" not in program
    assert "mhlo.copy" not in program
    assert max(map(len, program.splitlines())) < 20_000


def test_an_unknown_choice_is_reported_with_those_that_there_are():
    command = [sys.executable, "-m", "benchmarks.tpu_compile", "--topologies=v5e,v1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--topologies takes v5e, v4, v5p, v6e, not v1" in done.stdout + done.stderr


def test_settings_that_are_no_adapters_are_reported():
    command = [sys.executable, "-m", "benchmarks.tpu_compile", '--adapter={"form": "serial"}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--adapter takes settings of an AdapterConfig: `form`" in done.stdout + done.stderr
