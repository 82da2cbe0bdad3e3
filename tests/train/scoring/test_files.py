import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from train.scoring import parquet
from train.scoring.files import check_columns, find_files, named


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with some files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.csv").write_text("id,text\n1,x\n")
    (tmp_path / "a.TSV").write_text("\ufefftext \tid\r\n")
    (tmp_path / "c,d.jsonl").write_text('{bad\n{"text": "x"}\n{"id": 1}\n')
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "e.csv").write_text("text\n")
    table = {"text": ["x", None, "z"] * 1000, "n": range(3000), "f": [0.5] * 3000}
    pq.write_table(pa.table(table), tmp_path / "f.parquet", row_group_size=700)
    return tmp_path


def test_paths_and_patterns_in_their_order_each_file_once(folder):
    def found(*patterns):
        return [file.path for file in find_files(patterns, None)]

    assert found("b.csv", "*.csv") == ["b.csv", "empty.csv"]
    assert found("./b.csv", "b.csv") == ["./b.csv"]
    assert found("c,d.jsonl") == ["c,d.jsonl"]
    assert found("b.csv,c*,a.TSV") == ["b.csv", "c,d.jsonl", "a.TSV"]
    assert found("**/*.csv") == ["b.csv", "deep/e.csv", "empty.csv"]
    files = find_files(["*.*"], None)
    assert [(file.path, file.format) for file in files][::4] == [
        ("a.TSV", "tsv"),
        ("f.parquet", "parquet"),
    ]
    assert files[0].header == ("text", "id")
    assert find_files(["c,d.jsonl"], "tsv")[0].format == "tsv"


@pytest.mark.parametrize(
    ("pattern", "content", "text"),
    [
        ("none.csv", None, "--input=none.csv: there is no such file"),
        ("*.none", None, r"--input=\*.none: there is no such file"),
        ("deep", None, "deep is a folder. Name its files"),
        ("x.txt", b"a", "must end in one of .csv, .tsv.* --format must be given"),
        ("x.csv", b"a,a\n", "x.csv, line 1: a column name is repeated"),
        ("x.csv", b"\n\xff\n", "x.csv, line 2: the header is malformed: not UTF-8"),
        ("x.csv", b'"a\n', "x.csv, line 1: the header is malformed: .*left open"),
    ],
)
def test_what_cannot_be_read_is_named(pattern, content, text, folder):
    if content:
        (folder / pattern).write_bytes(content)
    with pytest.raises((OSError, ValueError), match=text):
        find_files([pattern], None)


def test_columns_that_are_not_there_are_named(folder):
    files = find_files(["*.*"], None)
    check_columns(files, ["text"])
    for missing in (["id", "text"], ["text", "id"]):
        with pytest.raises(ValueError, match=r"f\.parquet: there is no column 'id', only \['f', "):
            check_columns(files, missing[:1], missing[1:])
    with pytest.raises(ValueError, match=r"jsonl: there is no column 'other', only \['id', 'text'"):
        check_columns(find_files(["c,d.jsonl"], None), ["other"])
    check_columns(find_files(["empty.csv"], None), ["other"])


def test_fields_by_their_names():
    assert named(("a", "b"), ["1", "2"]) == {"a": "1", "b": "2"}
    assert named(None, {"a": 1}) == {"a": 1}
    with pytest.raises(ValueError, match="3 fields, but the header has 2"):
        named(("a", "b"), ["1", "2", "3"])


@pytest.mark.parametrize(("first", "count"), [(0, 3000), (0, 1), (699, 2), (1399, 900), (2999, 1)])
def test_rows_of_parquet_from_any_on(first, count, folder):
    rows = [record.fields for record in parquet.read("f.parquet", first, count, ["n", "none"])]
    assert [row["n"] for row in rows] == list(range(first, first + count))
    assert set(rows[0]) == {"n"}


def test_parquet_that_is_none_or_holds_no_text(folder):
    (folder / "x.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(ValueError, match=r"x\.parquet is not Parquet, or is damaged"):
        check_columns(find_files(["x.parquet"], None), ["text"])
    files = find_files(["f.parquet"], None)
    check_columns(files, ["text", "n"], ["f"])
    with pytest.raises(ValueError, match=r"the column 'f' holds double, which is no text"):
        check_columns(files, ["f"])


def test_text_of_parquet_that_is_not_utf8_is_bytes(folder):
    values = pa.array([b"\xff", "é".encode(), None]).view(pa.string())
    pq.write_table(
        pa.table({"text": values, "d": pa.array(["a", "a", "b"]).dictionary_encode()}), "g.parquet"
    )
    rows = [record.fields for record in parquet.read("g.parquet", 0, 3, ["text", "d"])]
    assert [row["text"] for row in rows] == [b"\xff", "é".encode(), None]
    assert [row["d"] for row in rows] == [b"a", b"a", b"b"]
