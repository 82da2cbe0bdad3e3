"""The real TPU compiler takes the training step of an adapted KerasHub model, in parts."""

import json
import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "benchmarks.jax_tpu_compile"]

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") or sys.version_info < (3, 11),
    reason="libtpu is made for x86-64 Linux alone, and the JAX that drives it for Python 3.11",
)


def run(*flags):
    return subprocess.run([*COMMAND, *flags], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_a_step_with_its_base_in_parts_compiles_once(tmp_path):
    path = tmp_path / "rows.json"
    flags = (
        "--models=bert_tiny", "--devices=v5e", "--methods=adapters", "--distribution=sharded",
        "--length=16", "--batch_size=4", "--adapter_size=8", f"--json={path}",
    )  # fmt: skip
    done = run(*flags)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(path.read_text())
    case, result = row["case"], row["result"]
    assert result["device_kind"] == "TPU v5 lite"
    # One block with two adapters, three LayerNorms, and the head.
    trained = 2 * (2 * 8 * 128 + 8 + 128) + 3 * 2 * 128 + 3 * (128 + 1)
    assert case["trained"] == trained
    # What a step changes in place: what is trained, and two slots of the optimiser for each; the
    # frozen variables go through it as they are.
    words, kernels = 1000 * 128, 4 * 128 * 128 + 2 * 128 * 512
    whole = 512 * 128 + 2 * 128 + 128 * 128
    floats = 3 * trained + (words + kernels) / 2 + whole
    assert 4 * floats <= result["argument_bytes"] < 1.05 * 4 * floats
    assert 4 * floats <= result["alias_bytes"] < 1.05 * 4 * floats
    kinds = {kind: size for kind, _, size in result["collectives"]}
    assert kinds["all-reduce"] >= 4 * trained
    assert f"| v5e | bert_tiny | 16 | sharded | 4 | adapters | {trained} | yes |" in done.stdout
    row["result"]["flops"] = 123e9
    path.write_text(json.dumps([row]))
    assert "| 123 |" in run(*flags).stdout


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--devices=v5e,v1", "--devices takes v5e, v4, v5p, v6e, v7x, not v1"),
        ("--distribution=", "--distribution takes some of data, sharded, not nothing"),
        ("--methods=layer_norm", "--methods takes adapters, full, not layer_norm"),
    ],
)
def test_an_unknown_choice_is_reported_with_those_that_there_are(flag, said):
    done = run(flag)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
