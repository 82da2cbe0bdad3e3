"""What the command makes of files, and that it may be stopped and started at any time."""

import json
import os
import signal
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from train.predict import Options, predict


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def score(folder, text_models):
    """Scores files into `out`; returns the rows of the predictions and the malformed ones."""

    def score(kind, *patterns, output="out", **options):
        options = {"rows_per_part": 3, "batch_size": 2, **options}
        score.told = predict(Options(text_models[kind], patterns, output, **options))
        return read(folder / output)

    return score


def read(output):
    def rows(paths):
        return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]

    paths = sorted((output / "predictions").iterdir())
    return rows(paths), rows([output / "malformed.jsonl"])


def waits_for(condition):
    """Waits for a state, however long that takes."""
    while not condition():
        time.sleep(0.01)


def test_rows_keep_their_order_and_identity_in_all_formats(score, folder):
    texts = ["x" * count for count in range(10)]
    ids = [f"{index * 7}" for index in range(10)]
    pairs = list(zip(ids, texts, strict=True))
    (folder / "a.csv").write_text("id,text\n" + "".join(f"{i},{t}\n" for i, t in pairs))
    (folder / "b.tsv").write_text("id\tother\ttext\n" + "".join(f"{i}\t?\t{t}\n" for i, t in pairs))
    (folder / "c.jsonl").write_text(
        "".join(json.dumps({"text": t, "id": int(i)}) + "\n" for i, t in pairs)
    )
    table = {"id": [int(i) for i in ids], "text": texts}
    pq.write_table(pa.table(table), folder / "d.parquet", row_group_size=4)
    rows, malformed = score("value", "*.*", id_columns=["id"])
    assert not malformed
    expected = []
    for path in ("a.csv", "b.tsv", "c.jsonl", "d.parquet"):
        for index, (i, text) in enumerate(pairs):
            own = i if path < "c" else int(i)
            expected.append({"file": path, "row": index, "id": own, "value": float(len(text))})
    assert rows == expected
    assert score.told == "out has finished: 40 rows"
    assert sorted(path.name for path in (folder / "out").iterdir() if path.name[0] != ".") == [
        "malformed.jsonl",
        "manifest.json",
        "parts.jsonl",
        "predictions",
    ]


def test_what_is_malformed_is_counted_and_kept_apart(score, folder):
    (folder / "a.csv").write_bytes(
        '\ufeffid,text\r\n1,fine\r\n2,"of two\r\nlines"\r\n3\r\n4,x,y\r\n'.encode()
        + b'5,\xff\r\n6,"open\r\n7,please explode\r\n8,\r\n9,last'
    )
    (folder / "b.jsonl").write_text(
        '{"text": null, "id": 1}\n{"id": 2}\n{"text": 1.5, "id": 3}\n[]\n{\n'
        '{"text": "\\ud83d", "id": 4}\n{"text": "no id"}\n{"text": true, "id": 5}\n'
    )
    bad = pa.array([b"ok", b"\xff", None]).view(pa.string())
    pq.write_table(pa.table({"text": bad, "id": [1, 2, 3]}), folder / "c.parquet")
    rows, malformed = score("text", "*.*", id_columns=["id"])
    assert [(row["file"], row["row"], row["id"]) for row in rows] == [
        ("a.csv", 0, "1"),
        ("a.csv", 1, "2"),
        ("a.csv", 7, "8"),
        ("a.csv", 8, "9"),
        ("b.jsonl", 7, 5),
        ("c.parquet", 0, 1),
    ]
    assert rows[1]["probabilities"] == pytest.approx({"good": 0.87, "bad": 0.13})
    assert (rows[1]["label"], rows[1]["probability"]) == ("good", pytest.approx(0.87))
    found = [(row["file"], row["line"], row["row"], row["reason"]) for row in malformed]
    reasons = [
        ("a.csv", 5, 2, "1 fields, but the header has 2"),
        ("a.csv", 6, 3, "3 fields, but the header has 2"),
        ("a.csv", 7, 4, "not UTF-8"),
        ("a.csv", 8, 5, "a quotation mark left open"),
        ("a.csv", 9, 6, "a harmful text"),
        ("b.jsonl", 1, 0, "'text' is null"),
        ("b.jsonl", 2, 1, "'text' is missing"),
        ("b.jsonl", 3, 2, "'text' is no text, but a float"),
        ("b.jsonl", 4, 3, "not a JSON object"),
        ("b.jsonl", 5, 4, "not JSON"),
        ("b.jsonl", 6, 5, "'text' holds half of a surrogate pair"),
        ("b.jsonl", 7, 6, "'id' is missing"),
        ("c.parquet", None, 1, "'text' is not UTF-8"),
        ("c.parquet", None, 2, "'text' is null"),
    ]
    assert [row[:3] for row in found] == [row[:3] for row in reasons]
    for (*_, told), (*_, reason) in zip(found, reasons, strict=True):
        assert reason in told
    assert malformed[3]["content"] == '6,"open'
    assert score.told.endswith("20 rows, 14 of them malformed: see out/malformed.jsonl")


def test_pairs_and_questions_by_the_names_of_their_columns(score, folder):
    (folder / "a.csv").write_text("context,question,q\nabc,who,why?\n")
    (squad,), _ = score("squad", "a.csv", output="squad")
    assert squad == {"file": "a.csv", "row": 0, "answer": "ab", "start": 0, "end": 2} | {
        "score": 3.0,
        "null_score": 3.0,
    }
    (renamed,), _ = score("squad", "a.csv", output="q", text_columns=["q", "context"])
    assert renamed["score"] == 4.0
    (pair,), _ = score("pair", "a.csv", output="pair", text_columns=["context", "q"])
    assert pair["probability"] == pytest.approx(0.93)


def test_many_tasks_by_a_column_or_a_flag(score, folder):
    (folder / "a.jsonl").write_text(
        '{"text": "x", "task": "topic"}\n'
        '{"text": "x", "text_pair": "yy", "task": "stars"}\n'
        '{"text": "x", "text_pair": null, "task": "tone"}\n'
        '{"text": "x", "task": "other"}\n'
        '{"text": "x"}\n'
    )
    rows, malformed = score("many", "a.jsonl")
    third = {"good": 0.865, "bad": 0.01, "neither": 0.125}
    common = {"file": "a.jsonl"}
    nothing = {"label": None, "probability": None, "probabilities": None}
    topic = {"label": "good", "probability": 0.99, "probabilities": {"good": 0.99, "bad": 0.01}}
    assert rows == [
        common | {"row": 0, "task": "topic", "value": None} | topic,
        common | {"row": 1, "task": "stars", "value": 3.0} | nothing,
        common
        | {"row": 2, "task": "tone", "value": None, "label": "good", "probability": 0.865}
        | {"probabilities": third},
    ]
    assert [row["reason"] for row in malformed] == [
        "'other' is not a task of this model",
        "'task' is missing",
    ]
    rows, malformed = score("many", "a.jsonl", output="flag", task="stars", text_columns=["text"])
    assert [row["value"] for row in rows] == [1.0] * 5
    assert not malformed


def test_predictions_in_parquet(folder, text_models):
    (folder / "a.jsonl").write_text('{"text": "x", "id": 1}\n{"text": "yy", "id": "b"}\n{}\n')

    def table(kind, **more):
        more = {"id_columns": ["id"], "output_format": "parquet", **more}
        predict(Options(text_models[kind], ["a.jsonl"], kind, **more))
        (path,) = (folder / kind / "predictions").iterdir()
        return pq.read_table(path)

    def row(number, own, good):
        probabilities = [("good", pytest.approx(good)), ("bad", pytest.approx(1 - good))]
        answer = {"label": "good", "probability": pytest.approx(good)}
        identity = {"file": "a.jsonl", "row": number, "id": own}
        return {**identity, **answer, "probabilities": probabilities}

    assert table("text").to_pylist() == [row(0, "1", 0.99), row(1, "b", 0.98)]
    many = table("many", task="stars")
    assert many["value"].to_pylist() == [1.0, 2.0, 0.0][:2]
    assert many["label"].to_pylist() == [None, None]
    squad = table("squad", text_columns=["text", "id"], id_columns=[])
    assert squad["answer"].to_pylist() == ["1", "b"]


def test_files_without_rows(score, folder):
    (folder / "a.csv").write_text("")
    (folder / "b.csv").write_text("text\r\n")
    (folder / "c.jsonl").write_text("\n")
    assert score("text", "*.*") == ([], [])
    assert score.told == "out has finished: 0 rows"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"text_columns": ["a", "b"]}, "--text_columns must name the columns of this model's text"),
        ({"text_columns": ["none"]}, "a.csv: there is no column 'none', only"),
        ({"id_columns": ["none"]}, "a.csv: there is no column 'none', only"),
        ({"id_columns": ["label"]}, "--id_columns must be different, and none of file, row"),
        ({"id_columns": ["id", "id"]}, "--id_columns must be different"),
        ({"task": "topic"}, "--task and --task_column are for a model of many tasks"),
        ({"workers": 2}, "--workers is for a cluster"),
        ({"input": ["none.csv"]}, "--input=none.csv: there is no such file"),
        ({"input": ["out/b.csv"]}, "--input=out/b.csv is in --output=out"),
        ({"kind": "many"}, "a.csv: there is no column 'task'"),
        ({"kind": "many", "task": "a", "task_column": "b"}, "--task is one task for all rows"),
        ({"kind": "pair", "text_columns": ["text", "text"]}, "must name different columns"),
        ({"kind": "other"}, "takes x and returns y"),
        ({"kind": "many", "task": "none"}, "--task=none is not one of this model, which has topic"),
    ],
)
def test_what_does_not_fit_is_refused(options, text, folder, text_models):
    (folder / "a.csv").write_text("id,text\n1,x\n")
    (folder / "out").mkdir()
    (folder / "out" / "b.csv").write_text("text\n")
    options = {"kind": "text", "input": ["a.csv"], "output": "out", **options}
    if options["input"] != ["out/b.csv"]:
        (folder / "out" / "b.csv").unlink()
    with pytest.raises((ValueError, OSError), match=text):
        predict(Options(text_models[options.pop("kind")], **options))
    # After that the folder is free for what is right.
    if options["input"] == ["a.csv"]:
        assert "1 rows" in predict(Options(text_models["text"], ["a.csv"], "out"))


def test_a_folder_holds_one_work(score, folder):
    (folder / "a.csv").write_text("id,text\n1,x\n2,y\n")
    first = score("text", "a.csv")
    assert score("text", "a.csv", batch_size=7) == first
    assert score.told == "out had finished before: 2 rows"
    for kind, options, text in [
        ("value", {}, "saved_model: "),
        ("text", {"text_columns": ["id"]}, r'text_columns: \["text"\] there, \["id"\] now'),
        ("text", {"id_columns": ["id"]}, "id_columns"),
        ("text", {"rows_per_part": 4}, "rows_per_part: 3 there, 4 now"),
        ("text", {"output_format": "parquet"}, "suffix"),
    ]:
        with pytest.raises(ValueError, match=f"(?s)holds a work with other settings.*{text}"):
            score(kind, "a.csv", **options)
    (folder / "a.csv").write_text("id,text\n1,x\n2,z\n")
    os.utime(folder / "a.csv", ns=(1, 1))
    with pytest.raises(ValueError, match=r"(?s)other settings:.*  input: "):
        score("text", "a.csv")
    (folder / "other").mkdir()
    (folder / "other" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds mine\.txt, which is not of train\.predict"):
        score("text", "a.csv", output="other")
    (folder / "out" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        score("text", "a.csv")


def test_a_part_that_somebody_has_removed_is_missed(score, folder):
    (folder / "a.csv").write_text("text\nx\ny\n")
    score("text", "a.csv")
    (folder / "out" / "predictions" / "part-00000000.jsonl").unlink()
    with pytest.raises(OSError, match=r"has finished, but lacks part-00000000\.jsonl"):
        score("text", "a.csv")


def test_killed_at_any_time_it_loses_and_repeats_no_row(run_command, folder, text_models):
    marks = folder / "marks"
    marks.mkdir()
    texts = ["x"] * 5 + [f"2 {marks}"] + ["y", "\ud800"] + [f"4 {marks}"] + ["z"] * 4
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (folder / "a.jsonl").write_text("".join(lines))
    command = ["-m", "train.predict", f"--saved_model={text_models['waits']}", "--input=a.jsonl"]
    command += ["--output=out", "--rows_per_part=2", "--batch_size=1"]
    predictions = folder / "out" / "predictions"

    def kill_where_it_waits(count):
        process = run_command(*command, cwd=folder, wait=False)
        waits_for(lambda: len(list(marks.iterdir())) == count or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        second = run_command(*command, cwd=folder)
        assert second.returncode == 1
        assert f"--output=out is in use by process {process.pid} on " in second.err
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        (folder / "out" / "scratch" / "left").write_text("by one that was killed")
        return sorted(path.name[5:13] for path in predictions.iterdir())

    assert kill_where_it_waits(1) == ["00000000", "00000001"]
    # The second start is let through where the first waited, and waits itself further on.
    (marks / "by_hand").touch()
    assert kill_where_it_waits(3) == [f"0000000{number}" for number in range(4)]
    (marks / "by_hand_too").touch()
    done = run_command(*command, cwd=folder)
    assert done.returncode == 0, done.err
    assert done.out == "out has finished: 13 rows, 1 of them malformed: see out/malformed.jsonl\n"
    rows, malformed = read(folder / "out")
    assert [row["row"] for row in rows] == [*range(7), *range(8, 13)]
    assert [row["row"] for row in malformed] == [7]
    assert len({row["value"] for row in rows}) == 3  # Each of the processes has scored some.
    assert not (folder / "out" / "scratch").exists()


def test_the_command_says_what_is_wrong_before_it_imports_tensorflow(run_command, folder):
    (folder / "a.csv").write_text("text\n")
    program = "import sys; sys.modules['tensorflow'] = None; from train import predict, command; "
    program += "predict.define_flags(); command.run(predict.main)"
    command = ["-c", program, "--input=a.csv", "--output=out"]
    done = run_command(*command, "--saved_model=none", cwd=folder)
    assert (done.returncode, done.err) == (1, "error: --saved_model=none is not a folder\n")
    done = run_command(*command, "--saved_model=none", "more", cwd=folder)
    assert done.err == "error: unexpected arguments, flags start with --: more\n"
    done = run_command(*command, "--rows_per_part=0", "--saved_model=none", cwd=folder)
    assert "--rows_per_part" in done.err
    assert not (folder / "out").exists()
