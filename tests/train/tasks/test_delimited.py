import json

import pytest

from train.tasks import delimited
from train.tasks.data import Row, cut_dev
from train.tasks.files import DataFiles

# Text, label. Enough of them that some fall to either side of a cut.
EXAMPLES = [(f"text {index}", "ab"[index % 2]) for index in range(40)]


def as_csv(rows):
    quoted = (",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    return "text,label\n" + "".join(f"{line}\n" for line in quoted)


def as_tsv(rows):
    return "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)


def as_jsonl(rows):
    return "".join(json.dumps({"label": label, "text": text}) + "\n" for text, label in rows)


WRITERS = {".csv": as_csv, ".tsv": as_tsv, ".jsonl": as_jsonl}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def read(write):
    """Reads a file with this content as the dev file, and returns its examples."""
    good = write("good.csv", "text,label\nx,a\ny,b\n")

    def read(name, content, text_columns=("text",)):
        train = good
        if text_columns != ("text",):
            header = ",".join((*text_columns, "label"))
            commas = "," * len(text_columns)
            train = write("wide.csv", f"{header}\n{commas}a\n{commas}b\n")
        dev = write(name, content)
        data = delimited.read(DataFiles(None, train, dev, None, text_columns))
        return list(zip(*data.dev.columns, strict=True)), data.dev.labels.tolist()

    return read


def as_set(examples, names):
    return {
        (text, names[label])
        for text, label in zip(examples.columns[0], examples.labels, strict=True)
    }


@pytest.mark.parametrize("suffix", WRITERS)
def test_three_forms_hold_the_same_examples(write, suffix):
    path = write(f"train{suffix}", WRITERS[suffix](EXAMPLES))
    test = write(f"test{suffix}", WRITERS[suffix](EXAMPLES[:3]))
    data = delimited.read(DataFiles(train_file=path, test_file=test))
    path = write("reference.csv", as_csv(EXAMPLES))
    reference = delimited.read(DataFiles(train_file=path))
    assert data.label_names == ("a", "b")
    for split in ("train", "dev"):
        examples, expected = getattr(data, split), getattr(reference, split)
        assert examples.columns == expected.columns
        assert examples.labels.tolist() == expected.labels.tolist()
    assert as_set(data.train, "ab") | as_set(data.dev, "ab") == set(EXAMPLES)
    assert not as_set(data.train, "ab") & as_set(data.dev, "ab")
    assert data.test.columns == (["text 0", "text 1", "text 2"],)
    assert data.test.labels.tolist() == [0, 1, 0]
    assert reference.test is None


def test_dev_file_leaves_train_whole(write):
    train = write("train.csv", as_csv(EXAMPLES))
    dev = write("dev.tsv", as_tsv(EXAMPLES[:5]))
    data = delimited.read(DataFiles(train_file=train, dev_file=dev))
    assert (len(data.train), len(data.dev)) == (40, 5)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", 'text,label\n"one,\ntwo ""three""",a\n', 'one,\ntwo "three"'),
        ("a.tsv", 'text\tlabel\n"one, 5" two\ta\n', '"one, 5" two'),
        ("a.csv", "\ufefftext,label\none,a\n", "one"),
        ("a.tsv", "\ufefftext\tlabel\none\ta\n", "one"),
        ("a.jsonl", '\ufeff{"text": "one", "label": "a"}\n', "one"),
        ("a.csv", "text,label\r\none,a\r\n", "one"),
        ("a.tsv", "text\tlabel\r\none\ta\r\n", "one"),
        ("a.jsonl", '{"text": "one", "label": "a"}\r\n', "one"),
        ("a.csv", "text,label\none,a", "one"),
        ("a.csv", "\ntext,label\n\none,a\n\n\n", "one"),
        ("a.jsonl", '\n{"text": "one", "label": "a"}\n \n', "one"),
        ("a.csv", " text , label\none,a\n", "one"),
        ("a.csv", "id,label,text\n7, a ,one\n", "one"),
        ("a.csv", "text,label\n,a\n", ""),
        ("a.tsv", "text\tlabel\n\ta\n", ""),
        ("a.jsonl", '{"text": "", "label": "a"}\n', ""),
        ("a.json", '{"text": "\\u00e9 \u2028\\n", "label": "a", "id": null}\n', "é \u2028\n"),
        ("A.CSV", "text,label\n日本 🙂,a\n", "日本 🙂"),
        ("A.JSONL", '{"text": 12, "label": "a"}', "12"),
    ],
)
def test_text_is_read_as_written(read, name, content, text):
    assert read(name, content) == ([(text,)], [0])


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["pos", "neg"], ("neg", "pos")),
        ([1, 0], ("0", "1")),
        ([True, False], ("false", "true")),
        (["1", 1, 0], ("0", "1")),
    ],
)
def test_json_labels_are_spelt_as_in_the_file(write, labels, names):
    path = write("a.jsonl", "".join(json.dumps({"text": "", "label": x}) + "\n" for x in labels))
    assert delimited.read(DataFiles(train_file=path, dev_file=path)).label_names == names


def test_pair_of_text_columns(read):
    content = "label,second,first\na,2,1\nb,4,3\n"
    assert read("a.csv", content, ("first", "second")) == ([("1", "2"), ("3", "4")], [0, 1])


FIRST = '{"text": "one", "label": "a"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\none,a\ntwo,a,b\n", "line 3: 3 fields, but the header has 2"),
        ("a.tsv", "text\tlabel\none\n", "line 2: 1 fields, but the header has 2"),
        ("a.csv", 'text,label\n"one\n\ntwo",a\nthree\n', "line 5: 1 fields"),
        ("a.csv", "body,label\none,a\n", "no column 'text'.*--text_columns"),
        ("a.csv", "text,class\none,a\n", "no column 'label'.*--label_column"),
        ("a.jsonl", FIRST + '{"label": "a"}\n', "line 2: there is no column 'text'"),
        ("a.csv", "text,label\none,a\ntwo, \n", "line 3: the label in 'label' is empty"),
        ("a.jsonl", FIRST + '{"text": "two", "label": ""}\n', "line 2: the label .* is empty"),
        ("a.jsonl", FIRST + "{'text': 1}\n", "line 2: not JSON"),
        ("a.jsonl", FIRST + '{"text": ' + "9" * 5000 + "}\n", "line 2: not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("a.json", "[\n" + FIRST + "]\n", "line 1: not JSON.*each line"),
        ("a.jsonl", FIRST + '["one", "a"]\n', "line 2: each line must be a JSON object"),
        ("a.jsonl", '{"text": "one", "label": null}\n', "line 1: 'label' must be a string"),
        ("a.jsonl", '{"text": "one", "label": NaN}\n', "line 1: 'label' must be .*nan"),
        ("a.jsonl", '{"text": "one", "label": 1.0}\n', "line 1: 'label' must be"),
        ("a.jsonl", '{"text": ["one"], "label": "a"}\n', "line 1: 'text' must be a string"),
        ("a.jsonl", '{"text": "\\ud83d", "label": "a"}\n', "line 1: 'text' holds half"),
        ("a.csv", b"text,label\none,a\n\xe9t\xe9,a\n", "line 3: not UTF-8"),
        ("a.jsonl", FIRST.encode("utf-16"), "line 1: not UTF-8"),
        ("a.csv", "text,label\none,a\ntwo,c\n", "line 3: the label 'c'.*'a', 'b'"),
        ("a.csv", 'text,label\none,a\n"two,a\nthree,a\n', "line 3: .*quotation mark"),
        ("a.csv", 'text,label\n"one" two,a\n', "line 2: .*quotation mark"),
        ("a.csv", "text,label,text\none,a,two\n", "line 1: a column name is repeated"),
        ("a.csv", "text,label\n", "holds no examples"),
        ("a.tsv", "\n\n", "holds no examples"),
        ("a.jsonl", "", "holds no examples"),
        ("a.txt", "text,label\none,a\n", "must end in one of .csv, .tsv, .jsonl"),
        ("a", "text,label\none,a\n", "must end in one of .csv, .tsv, .jsonl"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_malformed_file_is_an_error_that_names_file_and_line(read, name, content, message):
    with pytest.raises(ValueError, match=rf"[/\\]{name}\b.*{message}"):
        read(name, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (as_csv([("one", "a"), ("two", "a")]), r"two different labels. Received: \['a'\]"),
        (as_csv([("one", "a"), ("two", "b")]), "2 examples are too few .*--dev_file"),
        ("text,label\n", "holds no examples"),
    ],
)
def test_training_file_that_is_not_enough_is_an_error(write, content, message):
    with pytest.raises(ValueError, match=f"train.csv.*{message}"):
        delimited.read(DataFiles(train_file=write("train.csv", content)))


def test_a_cut_that_leaves_one_class_to_train_on_is_an_error(write):
    cut = next(text for text, _ in EXAMPLES if cut_dev([Row((text,), "a", 1)])[1])
    rows = [(text, "b" if text == cut else "a") for text, _ in EXAMPLES]
    train = write("train.csv", as_csv(rows))
    with pytest.raises(ValueError, match=r"train\.csv: .*two different labels.*\['a'\]"):
        delimited.read(DataFiles(train_file=train))
    dev = write("dev.csv", as_csv(rows))
    assert len(delimited.read(DataFiles(train_file=train, dev_file=dev)).train) == 40


def test_unknown_label_in_the_test_file_is_an_error(write):
    train = write("train.csv", as_csv(EXAMPLES))
    test = write("test.csv", as_csv([("one", "A")]))
    with pytest.raises(ValueError, match=r"test\.csv, line 2: the label 'A'"):
        delimited.read(DataFiles(train_file=train, test_file=test))


@pytest.mark.parametrize("split", range(3))
def test_missing_file_is_an_error(write, tmp_path, split):
    files = [write(f"{index}.csv", as_csv(EXAMPLES)) for index in range(3)]
    files[split] = tmp_path / "gone.csv"
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        delimited.read(DataFiles(None, *files))
