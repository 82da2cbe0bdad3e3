import json

import pytest

from train.tasks import squad

CONTEXT = "In 1862 the café was opened. 🗼 Paris."


def record(**changes):
    answer = {"text": "Paris", "answer_start": CONTEXT.index("Paris")}
    return {"id": "q1", "question": "Where?", "answers": [answer]} | changes


def content(*records, context=CONTEXT):
    return {"data": [{"paragraphs": [{"context": context, "qas": list(records)}]}]}


@pytest.fixture
def folder(tmp_path):
    def write(train, dev=None, version="1.1"):
        for split, data in {"train": train, "dev": dev or content(record())}.items():
            text = data if isinstance(data, str) else json.dumps(data)
            (tmp_path / f"{split}-v{version}.json").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_reads_questions_with_the_contexts_that_they_share(folder):
    answers = [{"text": "1862", "answer_start": 3}, {"text": "In 1862", "answer_start": 0}]
    two = record(id="q2", answers=answers)
    data = squad.read(folder(content(record(), two)), "1.1")
    assert data.train.contexts == [CONTEXT]
    assert data.train.questions == [
        squad.Question("q1", "Where?", 0, (squad.Answer("Paris", 31),)),
        squad.Question("q2", "Where?", 0, (squad.Answer("1862", 3), squad.Answer("In 1862", 0))),
    ]
    assert (len(data.train), len(data.dev), data.has_unanswerable) == (2, 1, False)


def test_version_2_has_questions_without_an_answer(folder):
    impossible = record(id="q2", answers=[], is_impossible=True, plausible_answers=[{}])
    path = folder(content(record(is_impossible=False), impossible), version="2.0")
    (path / "dev-v2.0.json").write_text(json.dumps(content(record())), encoding="utf-8")
    data = squad.read(path, "2.0")
    assert [len(question.answers) for question in data.train.questions] == [1, 0]
    assert data.has_unanswerable


def test_a_sample_keeps_the_contexts_that_it_needs():
    questions = [squad.Question(str(i), "?", i // 2, ()) for i in range(10)]
    split = squad.Questions([f"context {i}" for i in range(5)], questions)
    sample = split.sample(2, seed=3)
    assert sample == split.sample(2, seed=3)
    assert len(sample) == 2
    assert len(sample.contexts) <= 2
    for question in sample.questions:
        assert sample.contexts[question.context] == f"context {int(question.id) // 2}"
    assert split.sample(10, seed=0) is split


def test_missing_files_name_where_they_are_published(tmp_path):
    (tmp_path / "dev-v2.0.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"lacks train-v2\.0\.json\. .*rajpurkar\.github"):
        squad.read(tmp_path, "2.0")
    with pytest.raises(FileNotFoundError, match=r"train-v1\.1\.json and dev-v1\.1\.json"):
        squad.read(None, "1.1")


@pytest.mark.parametrize(
    ("train", "error"),
    [
        ("{", r"train-v1\.1\.json is not JSON"),
        ("[1]", r"train-v1\.1\.json must be an object whose 'data' is a list. Received: '\[1\]'"),
        ({"data": [{}]}, r"data\[0\] must be an object whose 'paragraphs' is a list"),
        ({"data": []}, "holds no questions"),
        (content(record(id=7)), r"paragraphs\[0\]\.qas\[0\] .* 'id' is a string. Received: '7'"),
        (content(record(question=None)), "question 'q1' must .* 'question' is a string"),
        (content(record(answers=[{"text": "Paris"}])), "'answer_start' is a whole number"),
        (content(record(answers=[])), "question 'q1' has no answer.*--task=squad_v2"),
        (content(record(), record()), "two questions have the id 'q1'"),
        (content(record(), context="half \ud83d"), "'context' holds half of a surrogate pair"),
        (
            content(record(answers=[{"text": "Paris", "answer_start": 30}])),
            "train-v1.1.json: question 'q1': the answer 'Paris' does not stand at "
            "`answer_start` 30 of the context, where ' Pari' does",
        ),
        (content(record(answers=[{"text": " ", "answer_start": 2}])), "'q1' has an empty answer"),
        (
            content(record(answers=[{"text": ".", "answer_start": -1}])),
            "does not stand at `answer_start` -1",
        ),
    ],
)
def test_errors_name_the_file_and_the_question(train, error, folder):
    with pytest.raises(ValueError, match=error):
        squad.read(folder(train), "1.1")


def test_an_impossible_question_with_an_answer(folder):
    train = content(record(is_impossible=True))
    with pytest.raises(ValueError, match="'q1' has 1 answers, but says `is_impossible` True"):
        squad.read(folder(train, version="2.0"), "2.0")
