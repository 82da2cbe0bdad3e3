import json
import pathlib
import sys

import pytest

from benchmarks import peer, train_speed


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs the benchmark with flags; processes are recorded, and answer at once."""
    commands = []

    def answer(command, environment=None, folder=None, sign=None):
        command = [str(word) for word in command]
        commands.append(command)
        settings = dict(word.removeprefix("--").split("=", 1) for word in command if "=" in word)
        output = ""
        if "train.run" in command:
            folder = pathlib.Path(settings["output_dir"])
            assert not folder.exists()
            folder.mkdir()
            results = {
                "examples_per_second": 30.0 + len(commands),
                "parameters": {"trained": 10},
                "useful_token_share": 0.9,
            }
            (folder / "results.json").write_text(json.dumps(results))
        elif command[1].endswith("adapter_hub_speed.py"):
            texts = pathlib.Path(settings["texts"], "train.jsonl").read_text().splitlines()
            result = {
                "examples_per_second": 10.0,
                "useful_token_share": 0.8,
                "lengths": [20] * len(texts),
            }
            output = f"a warning\n{json.dumps(result)}\n"
        else:
            output = "1e11\n"
        return peer.Finished(output, 50.0, 80.0, 2 * 10**9, 9.0 if sign else None)

    monkeypatch.setattr(peer, "run_child", answer)

    def run(*given):
        train_speed.main([f"--work_dir={tmp_path / 'work'}", "--peer_python=python", *given])
        return commands, capsys.readouterr().out

    return run


def test_both_sides_get_the_same_work_in_turn(run, tmp_path):
    file = tmp_path / "speed.json"
    commands, said = run(
        "--cases=short", "--encoders=minilm_l6", "--precisions=bfloat16", "--pairs=2",
        "--steps=8", f"--json={file}",
    )  # fmt: skip
    sides = ["ours" if "train.run" in command else command[1][-8:] for command in commands]
    assert sides == ["ours", "speed.py", "-c", "speed.py", "ours", "-c"]
    ours, theirs = commands[0], commands[1]
    assert ours[0] == sys.executable
    for setting in ("--batch_size=32", "--max_seq_length=128", "--precision=bfloat16"):
        assert setting in ours
        assert setting in theirs
    encoder = [word for word in ours if word.startswith("--encoder=")]
    assert encoder[0] in theirs
    (case,) = json.loads(file.read_text())["cases"]
    assert case["mean_tokens"] == 20
    assert "lengths" not in case["pairs"][0]["theirs"]
    assert "| short | minilm_l6 | bfloat16 |" in said
    assert "3.30 (3.10 to 3.50)" in said
    _, again = run("--pairs=0", f"--json={file}")
    assert again == said


def test_lengths_are_swept_over_and_drawn(run, tmp_path):
    plot = tmp_path / "speed.svg"
    _, said = run(
        "--cases=", "--lengths=16,64", "--encoders=minilm_l6", "--precisions=float32",
        "--pairs=1", "--steps=8", f"--plot={plot}",
    )  # fmt: skip
    assert "about 16 tokens" in said
    assert "about 64 tokens" in said
    assert "useful tokens/s" in plot.read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--cases=short,tall", "--cases must be of fixed, long, short. Received: tall"),
        ("--precisions=float16", "--precisions must be of float32, bfloat16"),
        ("--steps=3", "--steps must be at least 8. Received: 3"),
        ("--lengths=2", "--lengths must be 3 to 256. Received: 2"),
        ("--plot=x.svg", "--plot is of --lengths, which must be given"),
        ("--plot=x.gif", "--plot must end in .svg or .png. Received: x.gif"),
        ("--pairs=0", "--pairs=0 shows what --json holds: name the file"),
        ("--encoders=no/such/folder", "--encoder=no/such/folder"),
    ],
)
def test_wrong_flags_are_told_before_anything_runs(run, capsys, given, said):
    with pytest.raises(SystemExit) as ended:
        run(given)
    told = capsys.readouterr().err + str(ended.value.code)
    assert told.startswith("error: ")
    assert said in told


def test_a_process_that_fails_is_shown(run, monkeypatch):
    def fail(*command, **settings):
        raise peer.ChildError("train.run\nended with 1; its last lines:\nno memory")

    monkeypatch.setattr(train_speed, "_run_ours", fail)
    with pytest.raises(SystemExit, match="no memory"):
        run("--cases=short", "--encoders=minilm_l6")
