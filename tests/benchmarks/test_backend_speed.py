import json
import sys

import pytest

from benchmarks import backend_speed, peer


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs the benchmark with flags; processes are recorded, and answer at once."""
    calls = []

    def answer(command, environment=None, folder=None, sign=None):
        calls.append(([str(word) for word in command], environment))
        speed = 30.0 if environment else 10.0 + len(calls)
        said = {"examples_per_second": speed, "trained": 10}
        return peer.Finished(f"a warning\n{json.dumps(said)}\n", 50.0, 80.0, 2 * 10**9, 9.0)

    monkeypatch.setattr(peer, "run_child", answer)

    def run(*given):
        backend_speed.main([f"--work_dir={tmp_path / 'work'}", "--peer_python=python", *given])
        return calls, capsys.readouterr().out

    return run


def test_all_sides_get_the_same_work_in_turn(run, tmp_path):
    file = tmp_path / "speed.json"
    calls, said = run(
        "--sides=jax,torch,adapter_hub", "--precisions=bfloat16", "--rounds=2", "--steps=8",
        "--batch_size=4", f"--json={file}",
    )  # fmt: skip
    sides = [variables.get("KERAS_BACKEND", "theirs") for _, variables in calls]
    assert sides == ["jax", "torch", "theirs", "torch", "theirs", "jax"]
    ours, theirs = calls[0][0], calls[2][0]
    assert (ours[0], theirs[0]) == (sys.executable, "python")
    (encoder,) = (word for word in ours if word.startswith("--encoder="))
    for setting in (encoder, "--size=64", "--batch_size=4", "--precision=bfloat16"):
        assert setting in ours
        assert setting in theirs
    texts = (tmp_path / "work" / "texts" / "train.jsonl").read_text().splitlines()
    assert len(texts) == 4 * (8 + 3)
    assert len(json.loads(file.read_text())["runs"]) == 6
    # Theirs in the first round and in the second, 13 and 15 examples/s.
    assert "| jax | bfloat16 | 30.0 (30.0 to 30.0) | 2.15 (2.00 to 2.31) | 2.00 |" in said
    _, again = run("--rounds=0", f"--json={file}")
    assert again == said


def test_tensorflow_without_xla_is_a_side_of_its_own(run):
    calls, _ = run("--sides=tensorflow,tensorflow_no_jit", "--precisions=float32", "--rounds=1")
    assert [variables["KERAS_BACKEND"] for _, variables in calls] == ["tensorflow"] * 2
    assert ["--no_jit" in command for command, _ in calls] == [False, True]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "--sides=jax,mxnet",
            "--sides must be of jax, tensorflow, tensorflow_no_jit, torch",
        ),
        ("--precisions=float16", "--precisions must be of float32, bfloat16. Received: float16"),
        ("--steps=0", "--steps must be at least 1. Received: 0"),
        ("--rounds=0", "--rounds=0 shows what --json holds: name the file"),
    ],
)
def test_wrong_flags_are_told_before_anything_runs(run, capsys, given, said):
    with pytest.raises(SystemExit):
        run(given)
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert said in told


def test_a_process_that_fails_is_shown(run, monkeypatch):
    def fail(*command, **settings):
        raise peer.ChildError("fit\nended with 1; its last lines:\nno memory")

    monkeypatch.setattr(backend_speed, "_run", fail)
    with pytest.raises(SystemExit, match="no memory"):
        run("--sides=jax")
