"""Damaged files: what is read of them is data, or one error that names the file."""

import json
import random

import pytest

from train.tasks import delimited, packaged, squad
from train.tasks.files import DataFiles
from train.tasks.glue import folders
from train.tasks.table import TASKS

CONTEXT = "In 1862 the café was opened. 🗼 Paris."
ANSWER = {"text": "Paris", "answer_start": CONTEXT.index("Paris")}
NUMBERS = range(60)


def squad_file(version):
    questions = [{"id": f"q{n}", "question": "Where?", "answers": [ANSWER]} for n in range(4)]
    if version == "2.0":
        questions[0] |= {"answers": [], "is_impossible": True}
    paragraphs = [{"context": CONTEXT, "qas": questions}]
    return json.dumps({"data": [{"paragraphs": paragraphs}]}, ensure_ascii=False)


def table(header, row, separator="\t"):
    rows = ["\n".join(header)] if isinstance(header, list) else [separator.join(header)]
    rows += [separator.join(map(str, row(number))) for number in NUMBERS]
    return "\n".join(row for row in rows if row) + "\n"


LABELS = ("entailment", "not_entailment")
PAIRS = ("index", "sentence1", "sentence2")
RTE = table((*PAIRS, "label"), lambda n: (n, f"a{n}", "b", LABELS[n % 2]))
STSB = table((*PAIRS, "score"), lambda n: (n, f"a{n}", "b", n / 12))
TEST = table(PAIRS, lambda n: (n, "a", f"é{n}"))
COLA = table((), lambda n: ("gj04", n % 2, "", f"a{n}"))
COLA_TEST = table(("index", "sentence"), lambda n: (n, "a"))
PACKAGED_HEADER = ["Category\tText", "d\tstring", "class\t"]
PACKAGED = table(PACKAGED_HEADER, lambda n: ("ab"[n % 2], f"text {n} é"))
JSON_LINES = "".join(
    json.dumps({"text": f"é{n}", "label": n % 2, "x": [n]}) + "\n" for n in NUMBERS
)


def read_csv(name):
    return lambda folder: delimited.read(DataFiles(folder, train_file=name))


def read_glue(task):
    return lambda folder: folders.read(task, folder).with_unlabelled()


# Files by name, and what reads them from their folder.
READERS = {
    "csv": (
        {"a.csv": table(("text", "label"), lambda n: (f'"é, ""{n}"', n % 2), ",")},
        read_csv("a.csv"),
    ),
    "tsv": ({"a.tsv": table(("text", "label"), lambda n: (f"é{n}", n % 2))}, read_csv("a.tsv")),
    "jsonl": ({"a.jsonl": JSON_LINES}, read_csv("a.jsonl")),
    "squad": (
        dict.fromkeys(("train-v1.1.json", "dev-v1.1.json"), squad_file("1.1")),
        lambda folder: squad.read(folder, "1.1"),
    ),
    "squad_v2": (
        dict.fromkeys(("train-v2.0.json", "dev-v2.0.json"), squad_file("2.0")),
        lambda folder: squad.read(folder, "2.0"),
    ),
    "rte": ({"train.tsv": RTE, "dev.tsv": RTE, "test.tsv": TEST}, read_glue("rte")),
    "stsb": ({"train.tsv": STSB, "dev.tsv": STSB, "test.tsv": TEST}, read_glue("stsb")),
    "cola": ({"train.tsv": COLA, "dev.tsv": COLA, "test.tsv": COLA_TEST}, read_glue("cola")),
    "packaged": (
        {"x-train.tab": PACKAGED, "x-test.tab": PACKAGED},
        lambda folder: packaged.read("x", folder),
    ),
    "packaged_whole": (
        {"x.tab": table(PACKAGED_HEADER, lambda n: ("ab"[n % 2], f'"text ""{n}"" é"'))},
        lambda folder: packaged.read_whole("x", folder),
    ),
    "sms_spam_collection": (
        {"SMSSpamCollection": table((), lambda n: (("ham", "spam")[n % 2], f"text {n}"))},
        lambda folder: TASKS["sms_spam_collection"].read(DataFiles(folder)),
    ),
    "crowdflower_airline": (
        {
            "Airline-Sentiment-2-w-AA.csv": table(
                ("text", "airline_sentiment"), lambda n: (f'"é, {n}"', "ab"[n % 2]), ","
            )
        },
        lambda folder: TASKS["crowdflower_airline"].read(DataFiles(folder)),
    ),
}
# Bytes that have meanings: in text, in tables, in JSON.
PIECES = [b"\0", b"\xff", b"\xed\xa0\xbd", b"\xef\xbb\xbf", b"\r", b"\n", b"\t", b",", b'"']
PIECES += [b"\\ud83d", b"{", b"}", b":", b"NaN", b"null", b"-1", b"1e999", b"[" * 9999, b"9" * 9999]


def damaged(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 3])):
        place = rng.randrange(len(content) + 1)
        kind = rng.randrange(4)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[place:]
        elif kind == 2:
            del content[place : place + rng.randrange(40)]
        else:
            content[place:place] = rng.choice(PIECES)
    return bytes(content)


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)


def texts(split):
    if isinstance(split, squad.Questions):
        return [*split.contexts, *(question.text for question in split.questions)]
    return [text for column in split.columns for text in column]


@pytest.mark.parametrize("name", READERS)
def test_damage_is_an_error_that_names_the_file_or_is_harmless(tmp_path, name):
    files, read = READERS[name]
    files = {file: content.encode() for file, content in files.items()}
    write(tmp_path, files)
    read(tmp_path).fingerprint()
    errors = []
    for seed in range(300):
        rng = random.Random(f"{name} {seed}")
        victim = rng.choice(list(files))
        write(tmp_path, files | {victim: damaged(files[victim], rng)})
        try:
            data = read(tmp_path)
        except ValueError as error:
            errors.append((victim, str(error)))
        else:
            "".join(texts(data.train) + texts(data.dev)).encode()  # No half of a surrogate pair.
    assert len(errors) > 30
    assert [error for victim, error in errors if victim not in error] == []


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfet\0e\0x\0t\0", b"\0", None])
def test_a_file_that_is_empty_binary_or_a_folder_is_one_error(tmp_path, name, content):
    files, read = READERS[name]
    files = {file: text.encode() for file, text in files.items()}
    victim = next(iter(files))
    write(tmp_path, files | {victim: content or b""})
    if content is None:
        (tmp_path / victim).unlink()
        (tmp_path / victim).mkdir()
    with pytest.raises((ValueError, OSError), match=victim):
        read(tmp_path)


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("stsb", "squad")])
def test_one_class_to_train_on_is_one_error(tmp_path, name):
    files, read = READERS[name]
    victim = next(iter(files))
    text = files[victim]
    for other, first in {
        "not_entailment": "entailment",
        "gj04\t0": "gj04\t1",
        ",0\n": ",1\n",
        "\t0\n": "\t1\n",
        '"label": 0': '"label": 1',
        "\nb\t": "\na\t",
        "spam\t": "ham\t",
        ",b\n": ",a\n",
        json.dumps([ANSWER]): "[]",
        ', "answers": []}': ', "answers": [], "is_impossible": true}',
    }.items():
        text = text.replace(other, first)
    assert text != files[victim]
    write(tmp_path, {file: content.encode() for file, content in files.items()})
    read(tmp_path)
    (tmp_path / victim).write_text(text)
    with pytest.raises(ValueError, match=f"{victim}.*(different labels|question has an answer)"):
        read(tmp_path)
