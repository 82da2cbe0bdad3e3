"""Records of text files, and that parts of a file are the file."""

import io
import random

import pytest

from train.scoring import records
from train.scoring.files import InputFile, find_files
from train.scoring.plan import Part, cut, read
from train.scoring.records import FORMATS, Lines


@pytest.fixture
def parse():
    """Returns, of each record, its line and its fields or its reason."""

    def parse(kind, content):
        found = FORMATS[kind](Lines(io.BytesIO(content)))
        return [(record.line, record.fields or record.reason) for record in found]

    return parse


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("csv", b"", []),
        ("csv", b"\xef\xbb\xbfa,b\r\n1,2", [(1, ["a", "b"]), (2, ["1", "2"])]),
        ("csv", b'a\n"1\n2"\n\n\n"",3', [(1, ["a"]), (2, ["1\n2"]), (6, ["", "3"])]),
        ("csv", "é,世\n".encode(), [(1, ["é", "世"])]),
        ("csv", b'"say ""x"""\n', [(1, ['say "x"'])]),
        ("tsv", b'\xef\xbb\xbf"a\tb\r\n\n"\t', [(1, ['"a', "b"]), (3, ['"', ""])]),
        ("tsv", b" \n", [(1, [" "])]),
        ("jsonl", b'\xef\xbb\xbf{"a": 1}\r\n \n{"a": "\\u00e9"}', [(1, {"a": 1}), (3, {"a": "é"})]),
    ],
)
def test_records(kind, content, expected, parse):
    assert parse(kind, content) == expected


@pytest.mark.parametrize(
    ("kind", "wrong", "reason"),
    [
        ("csv", b'"open', "a quotation mark left open"),
        ("csv", b'"closed"x', "expected after"),
        ("csv", b"a\rb", "new-line character"),
        ("csv", b"\xff", "not UTF-8"),
        ("csv", b'"good\n\xff"', "not UTF-8"),
        ("tsv", b"\xff", "not UTF-8"),
        ("jsonl", b"\xff", "not UTF-8"),
        ("jsonl", b"{", "not JSON"),
        ("jsonl", b"[1]", "not a JSON object"),
        ("jsonl", b"1", "not a JSON object"),
        ("jsonl", b"[" * 100_000, "nested too deeply"),
        ("jsonl", b"1" * 5000, "not JSON"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_what_is_malformed_costs_its_own_line(kind, wrong, reason, end, parse):
    good = {"csv": b"fine", "tsv": b"fine", "jsonl": b'{"a": 1}'}[kind]
    before, (line, said), *after = parse(kind, end.join([good, wrong, good, good]))
    assert (before[0], line) == (1, 2)
    assert reason in said
    first = 3 + wrong.count(b"\n")
    assert [number for number, _ in after] == [first, first + 1]
    assert before[1] == after[0][1] == after[1][1]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_record_without_end_is_not_taken_into_memory(kind, parse, monkeypatch):
    monkeypatch.setattr(records, "LONGEST", 100)
    good = b'{"a": 1}' if kind == "jsonl" else b"fine"
    found = parse(kind, good + b"\n" + b"x" * 1000 + b"\n" + good)
    assert [line for line, _ in found] == [1, 2, 3]
    assert "longer than 100 bytes" in found[1][1]
    if kind == "csv":
        quoted = parse(kind, b'fine\n"open\n' + b"a\n" * 60)
        assert "longer than 100 bytes" in quoted[1][1]
        assert quoted[2:] == [(line, ["a"]) for line in range(3, 63)]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("seed", range(40))
def test_parts_of_any_size_are_the_file(kind, seed, tmp_path):
    pieces = [b'"', b"\n", b"\r\n", b",", b"\t", b"\xff", b"a", b'{"a": "b"}\n', b'""', b"\r", b" "]
    chosen = random.Random(seed).choices(pieces, k=120)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"h\n" + b"".join(chosen))
    (file,) = find_files([str(path)], None)
    (whole,) = cut([file], 10**6, lambda count: None)
    expected = list(read(file, whole, ()))
    assert len(expected) == whole.rows
    for size in (1, 2, 7):
        sizes = []
        parts = list(cut([file], size, sizes.append))
        assert [part.number for part in parts] == list(range(len(parts)))
        assert [record for part in parts for record in read(file, part, ())] == expected
        assert [part.row for part in parts] == list(range(0, whole.rows, size))
        assert sum(sizes) == file.size


def test_a_file_that_has_changed_is_an_error(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("h\n1\n")
    (file,) = find_files([str(path)], None)
    path.write_text("h\n1\n2\n")
    with pytest.raises(ValueError, match=r"a\.tsv has changed since"):
        list(read(file, Part(0, 0, 0, 1), ()))
    assert isinstance(file, InputFile)
