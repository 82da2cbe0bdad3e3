import os
import sys

import pytest

from benchmarks import peer


def environment(folder, versions):
    """Makes what looks like an environment, whose Python says these versions."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\necho '{versions}'\n")
    python.chmod(0o755)
    return python


def test_an_environment_that_is_there_is_taken(tmp_path, monkeypatch):
    said = '{"torch": "2.13.0+cpu", "adapters": "1.3.0", "scikit-learn": "1.7"}'
    python = environment(tmp_path / "there", said)
    assert peer.interpreter(tmp_path / "there") == python
    monkeypatch.setenv("ADAPTER_HUB_VENV", str(tmp_path / "there"))
    assert peer.interpreter() == python


def test_other_versions_and_other_folders_are_refused_and_kept(tmp_path):
    said = '{"torch": "2.13.0", "adapters": "1.2.0", "scikit-learn": "1.7"}'
    python = environment(tmp_path / "older", said)
    with pytest.raises(ValueError, match=r"adapters 1\.3\.0.*older, with adapters 1\.2\.0"):
        peer.interpreter(tmp_path / "older")
    (tmp_path / "letters").mkdir()
    letter = tmp_path / "letters" / "letter.txt"
    letter.touch()
    for path in (tmp_path / "letters", letter):
        with pytest.raises(ValueError, match="no environment"):
            peer.interpreter(path)
    assert python.exists()
    assert letter.exists()


def test_an_environment_is_made_in_order_and_made_anew_after_an_interruption(tmp_path, monkeypatch):
    commands = []

    def record(command):
        commands.append([str(word) for word in command[1:]])
        if "adapters==1.3.0" in command and interrupted:
            raise KeyboardInterrupt

    monkeypatch.setattr(peer, "run_child", record)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    interrupted = True
    with pytest.raises(KeyboardInterrupt):
        peer.interpreter()
    (folder,) = (tmp_path / "keras_adapters").iterdir()
    (folder / "half").touch()
    interrupted = False
    commands.clear()
    assert peer.interpreter() == folder / "bin" / "python"
    assert not any(folder.iterdir())
    assert [command[-1] for command in commands] == [
        str(folder),
        "torch==2.13.0",
        "adapters==1.3.0",
        "scikit-learn",
    ]


def test_a_process_is_measured(tmp_path):
    code = (
        "import os; block = bytearray(200 << 20); block[::4096] = b'x' * (50 << 10);"
        "print(os.environ['TOLD'], os.getcwd())"
    )
    done = peer.run_child([sys.executable, "-c", code], {"TOLD": "this"}, tmp_path)
    assert done.output == f"this {tmp_path}\n"
    assert done.peak_memory_bytes > 200 << 20
    assert done.processor_seconds > 0
    assert done.seconds > 0
    assert done.seconds_to_sign is None


def test_a_sign_is_seen_when_it_comes_in_pieces():
    code = (
        "import sys; say = lambda text: (sys.stderr.write(text), sys.stderr.flush());"
        "say('epoch 1\\rlo'); say('ss=2'); sys.stdin.read()"
    )
    done = peer.run_child([sys.executable, "-c", code], sign="loss=")
    assert 0 < done.seconds_to_sign <= done.seconds
    assert peer.run_child([sys.executable, "-c", code], sign="other").seconds_to_sign is None


def test_a_process_that_fails_shows_its_last_lines():
    code = "import sys; [print(number) for number in range(99)]; sys.exit('error: no such thing')"
    with pytest.raises(peer.ChildError, match="ended with 1") as caught:
        peer.run_child([sys.executable, "-c", code])
    assert "error: no such thing" in str(caught.value)
    assert "\n98\n" in str(caught.value)
    assert "\n50\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        peer.run_child(["/no/such/program"])


def test_an_interrupted_benchmark_leaves_no_process(monkeypatch, tmp_path):
    def interrupt(stream, sign, start):
        raise KeyboardInterrupt

    monkeypatch.setattr(peer, "_listen", interrupt)
    said = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(said)!r}).write_text(str(os.getpid()))"
    with pytest.raises(KeyboardInterrupt):
        peer.run_child([sys.executable, "-c", f"{code}; time.sleep(600)"])
    if said.exists():  # It came as far as that.
        with pytest.raises(ProcessLookupError):
            os.kill(int(said.read_text()), 0)


def test_sides_take_turns_in_being_first():
    order = []

    def side(name):
        order.append(name)
        return len(order)

    pairs = list(peer.alternate(lambda: side("ours"), lambda: side("theirs"), 3))
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert pairs == [(1, 2), (4, 3), (5, 6)]


def test_ratios_are_of_pairs():
    found = peer.ratios([2, 9, 4], [1, 3, 4])
    assert found == peer.Spread(2, 1, 3)
    assert f"{found:.2f}" == "2.00 (1.00 to 3.00)"
