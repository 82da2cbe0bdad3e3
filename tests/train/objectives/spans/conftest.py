"""A small set in SQuAD's form, made to be awkward."""

import json

import pytest

CAFE = (
    "The Café Zürich, opened in 1862 by Sen\u0303or O'Neill-Smith (1840–1903), cost $5.3bn in "
    "today's money; its cafe\u0301s were in the\u00a0\u201cOld Town\u201d. The cafe closed in 1903."
)
TOKYO = (
    "東京は日本の首都です。 Tokyo (東京) had 13,960,236 people \U0001f5fc\ufe0f in 2021,\n\n"
    "and 한국어 is spoken by 0.5\u00bd % … See x≠y.\u200b End 👍🏽!"
)
# Far more tokens than a window; each king's sentence repeats words of the others'.
KINGS = " ".join(
    f"King number {number} of the far country reigned for {number * 7} years and built the "
    f"castle of Stone{number}, which cost {number * 1000} crowns."
    for number in range(1, 31)
)
LONG_QUESTION = "Of all the kings, " + "and of all their sons, " * 20 + "who built Stone3?"


def question(id_, text, context, *answers):
    """Answers are texts, or pairs of a text and which of its occurrences is meant."""
    records = []
    for answer in answers:
        answer, occurrence = answer if isinstance(answer, tuple) else (answer, 0)
        start = -1
        for _ in range(occurrence + 1):
            start = context.index(answer, start + 1)
        records.append({"text": answer, "answer_start": start})
    return {"id": id_, "question": text, "answers": records}


TRAIN = {
    CAFE: [
        question("cafe-1", "When did it open?", CAFE, "1862"),
        question("cafe-2", "Who opened it?", CAFE, "Sen\u0303or O'Neill-Smith"),
        question("cafe-3", "When did Sen\u0303or O'Neill-Smith die?", CAFE, "1903"),
        question("cafe-4", "When did the cafe close?", CAFE, ("1903", 1)),
        question("cafe-5", "How much was it?", CAFE, "$5.3"),
        question("cafe-6", "What were where?", CAFE, "cafe\u0301s"),
        question("cafe-7", "Where?", CAFE, "the\u00a0\u201cOld Town\u201d"),
        question("cafe-8", "What closed?", CAFE, "The cafe"),
    ],
    TOKYO: [
        question("tokyo-1", "首都は?", TOKYO, "東京"),
        question("tokyo-2", "What is Tokyo in Japanese?", TOKYO, ("東京", 1)),
        question("tokyo-3", "How many live there 🗼?", TOKYO, "13,960,236"),
        question("tokyo-4", "Which sign?", TOKYO, "\U0001f5fc\ufe0f"),
        question("tokyo-5", "Which tongue?", TOKYO, "한국어"),
        question("tokyo-6", "Across lines?", TOKYO, "in 2021,\n\nand"),
        question("tokyo-7", "What differs?", TOKYO, "x≠y"),
        question("tokyo-8", "What comes last?", TOKYO, "👍🏽!"),
        question("tokyo-9", "日本?", TOKYO, "日本の首都"),
    ],
    KINGS: [
        *(
            question(f"kings-{n}", f"What did king {n} build?", KINGS, f"castle of Stone{n},")
            for n in range(1, 31)
        ),
        question("kings-long", LONG_QUESTION, KINGS, "King number 3"),
        # The same text in every sentence: only one of them is meant.
        question("kings-same", "Where did king 17 reign?", KINGS, ("the far country", 16)),
    ],
}
DEV = {
    CAFE: [
        question("dev-1", "When?", CAFE, "1862", "in 1862", "opened in 1862"),
        question("dev-2", "Who?", CAFE, "O'Neill-Smith", "Sen\u0303or O'Neill-Smith"),
    ],
    TOKYO: [question("dev-3", "Where?", TOKYO, "Tokyo", ("東京", 1))],
    KINGS: [
        question("dev-4", "Who reigned for 140 years?", KINGS, "King number 20"),
        question("dev-5", LONG_QUESTION, KINGS, "King number 3", "number 3", "3"),
    ],
}
UNANSWERABLE = {
    CAFE: [question("none-1", "Who closed it?", CAFE), question("none-2", "Why?", CAFE)],
    KINGS: [question("none-3", "Who built Stone99?", KINGS)],
}


def as_file(paragraphs, more=None):
    """SQuAD's JSON; `more` makes it version 2.0."""
    records = []
    for context, questions in paragraphs.items():
        if more is not None:
            questions = [*questions, *more.get(context, [])]
            questions = [{**q, "is_impossible": not q["answers"]} for q in questions]
        records.append({"context": context, "qas": questions})
    articles = [{"title": "Kings and cafés", "paragraphs": records}]
    version = "1.1" if more is None else "v2.0"
    return json.dumps({"version": version, "data": articles})


@pytest.fixture(scope="session")
def squad_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squad")
    for split, paragraphs in {"train": TRAIN, "dev": DEV}.items():
        (folder / f"{split}-v1.1.json").write_text(as_file(paragraphs), encoding="utf-8")
        text = as_file(paragraphs, more=UNANSWERABLE)
        (folder / f"{split}-v2.0.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def preprocess_of(minilm):
    """Makes preprocessors of one length or another."""
    from keras_adapters.preprocessor import BertPreprocessor

    return lambda seq_length: BertPreprocessor(minilm.vocab_file, True, seq_length)
