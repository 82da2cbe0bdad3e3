import csv
import io

import numpy as np
import pytest

from train.tasks.files import DataFiles
from train.tasks.published import SOURCES
from train.tasks.table import TASKS

# Of each file some columns, in their order, and the labels that occur; those that are left
# out, or merged, stand behind.
LAYOUTS = {
    "crowdflower_airline": (
        ["_unit_id", "airline_sentiment", "airline_sentiment:confidence", "text"],
        ["negative", "neutral", "positive"],
        {},
    ),
    "crowdflower_corporate_messaging": (
        ["_unit_id", "category", "category:confidence", "screenname", "text"],
        ["Action", "Dialogue", "Exclude", "Information"],
        {},
    ),
    "crowdflower_disasters": (
        ["_unit_id", "choose_one", "keyword", "location", "text", "tweetid"],
        ["Not Relevant", "Relevant"],
        {"Can't Decide": None},
    ),
    "crowdflower_economic_news_relevance": (
        ["_unit_id", "positivity", "relevance", "articleid", "headline", "text"],
        ["no", "yes"],
        {"not sure": None},
    ),
    "crowdflower_emotion": (
        ["tweet_id", "sentiment", "author", "content"],
        ["anger", "empty", "worry"],
        {},
    ),
    "crowdflower_global_warming": (
        ["tweet", "existence", "existence.confidence"],
        ["No", "Yes"],
        {"N/A": None, "": None, "Y": "Yes", "N": "No"},
    ),
    "crowdflower_political_audience": (
        ["_unit_id", "audience", "bias", "message", "label", "text"],
        ["constituency", "national"],
        {},
    ),
    "crowdflower_political_bias": (
        ["_unit_id", "audience", "bias", "message", "label", "text"],
        ["neutral", "partisan"],
        {},
    ),
    "crowdflower_political_message": (
        ["_unit_id", "audience", "bias", "message", "label", "text"],
        ["attack", "media", "support"],
        {},
    ),
    "crowdflower_primary_emotions": (
        ["_unit_id", "emotion", "emotion_confidence", "id", "idiom_id", "sentence"],
        ["Anger", "Joy", "Neutral"],
        {},
    ),
    "crowdflower_progressive_opinion": (
        ["_unit_id", SOURCES["crowdflower_progressive_opinion"].label, "target", "tweet"],
        ["1. the target", "2. something else", "3. none"],
        {},
    ),
    "crowdflower_progressive_stance": (
        ["_unit_id", SOURCES["crowdflower_progressive_stance"].label, "target", "tweet"],
        ["AGAINST: it", "FOR: it", "NEUTRAL: to it", "NONE OF THE ABOVE"],
        {},
    ),
    "crowdflower_us_economic_performance": (
        ["_unit_id", "positivity", "relevance", "articleid", "headline", "text"],
        ["no", "yes"],
        {"not sure": None},
    ),
    "customer_complaint_database": (
        ["Date received", "Product", "Issue", "Consumer complaint narrative", "Company"],
        ["Billing disputes", "Deposits, and withdrawals"],
        {},
    ),
    "news_aggregator_dataset": (
        ["ID", "TITLE", "URL", "PUBLISHER", "CATEGORY", "STORY", "HOSTNAME", "TIMESTAMP"],
        ["b", "e", "m", "t"],
        {},
    ),
    "sms_spam_collection": (["label", "text"], ["ham", "spam"], {}),
}
PER_LABEL = 120


def text_of(number, quoted):
    text = f'He said "no {number}, é'
    return f"{text}\non two lines" if quoted else text


def write(name, folder, end="\r\n", encoding="utf-8", extra=()):
    """Writes a file in the layout of a task's; `extra` are further rows (text, label)."""
    source, (columns, labels, others) = SOURCES[name], LAYOUTS[name]
    quoted = source.header is None
    rows = [(text_of(n, quoted), label) for label in (*labels, *others) for n in range(PER_LABEL)]
    records = [
        [text if c == source.text else label if c == source.label else "x" for c in columns]
        for text, label in (*rows, *extra)
    ]
    if quoted:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator=end).writerows([columns, *records])
        content = buffer.getvalue()
    else:
        content = "".join("\t".join(record) + end for record in records)
    path = folder / source.files[0]
    path.write_bytes(content.encode(encoding))
    return path


def read(name, folder):
    return TASKS[name].read(DataFiles(folder))


def splits(data):
    return data.train, data.dev, data.test


def test_every_layout_is_that_of_a_source():
    assert list(LAYOUTS) == list(SOURCES)
    assert len(LAYOUTS) == 16  # And 20 newsgroups.
    for name, source in SOURCES.items():
        assert source.header in (None, tuple(LAYOUTS[name][0]))
        assert not TASKS[name].verified


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_published_layout_is_read(tmp_path, name):
    write(name, tmp_path)
    data = read(name, tmp_path)
    _, labels, others = LAYOUTS[name]
    assert data.label_names == tuple(labels)
    counts = {label: PER_LABEL * (1 + list(others.values()).count(label)) for label in labels}
    found = np.concatenate([split.labels for split in splits(data)])
    assert np.bincount(found).tolist() == list(counts.values())
    texts = {text for split in splits(data) for text in split.columns[0]}
    assert texts == {text_of(n, SOURCES[name].header is None) for n in range(PER_LABEL)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("name", ["crowdflower_airline", "sms_spam_collection"])
def test_line_ends_and_encodings_make_no_difference(tmp_path, name, encoding, end):
    folders = [tmp_path / "plain", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    write(name, folders[0], "\n")
    write(name, folders[1], end, encoding)
    plain, other = (read(name, folder) for folder in folders)
    for one, two in zip(splits(plain), splits(other), strict=True):
        assert one.columns == two.columns
        assert one.labels.tolist() == two.labels.tolist()


def test_bytes_that_windows_does_not_know_are_read(tmp_path):
    path = write("sms_spam_collection", tmp_path)
    path.write_bytes(path.read_bytes() + b"spam\tcaf\xe9 \x81\n")
    data = read("sms_spam_collection", tmp_path)
    assert "café \x81" in {text for split in splits(data) for text in split.columns[0]}


def test_rows_without_text_or_label_are_left_out(tmp_path):
    extra = [("", "spam"), ("  ", "ham"), ("no label", " ")]
    write("sms_spam_collection", tmp_path, extra=extra)
    assert sum(len(split) for split in splits(read("sms_spam_collection", tmp_path))) == 240


def test_the_cut_is_about_80_10_10_and_keeps_repeated_texts_together(tmp_path):
    extra = [(f"message {number % 1000}", "spam") for number in range(2000)]
    write("sms_spam_collection", tmp_path, extra=extra)
    data = read("sms_spam_collection", tmp_path)
    assert 0.77 < len(data.train) / 2240 < 0.83
    assert 0.07 < len(data.dev) / 2240 < 0.13
    assert 0.07 < len(data.test) / 2240 < 0.13
    texts = [set(split.columns[0]) for split in splits(data)]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("sms_spam_collection", "ham\tone\nspam\n", "line 2: 1 fields, but the header has 2"),
        ("sms_spam_collection", "ham\tone\ttwo\n", "line 1: 3 fields"),
        ("crowdflower_airline", "text,sentiment\na,b\n", r"no columns \['airline_sentiment'\]"),
        ("crowdflower_airline", "text,airline_sentiment\na\n", "line 2: 1 fields"),
        ("crowdflower_airline", 'text,airline_sentiment\n"a,b\n', "line 2: .*quotation mark"),
        ("crowdflower_airline", "text,airline_sentiment\na,b\na,c\n", "no rows left"),
    ],
)
def test_a_file_of_another_form_is_an_error(tmp_path, name, content, message):
    file = SOURCES[name].files[0]
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=f"{file}.*{message}"):
        read(name, tmp_path)


@pytest.mark.parametrize("name", SOURCES)
def test_a_missing_file_says_where_it_is_published(tmp_path, name):
    message = rf"needs {SOURCES[name].files[0]}.*none in --data_dir=.*published at https://"
    with pytest.raises(FileNotFoundError, match=message):
        read(name, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"No --data_dir is given.* https://"):
        TASKS[name].read(DataFiles())


def test_a_file_of_another_name_of_its_own_is_found(tmp_path):
    path = write("customer_complaint_database", tmp_path)
    path.rename(tmp_path / "Consumer_Complaints.csv")
    assert len(read("customer_complaint_database", tmp_path).label_names) == 2
