"""The Stanford question answering datasets, SQuAD 1.1 and 2.0, from their JSON files.

A file is `{"data": [{"paragraphs": [{"context": ..., "qas": [...]}]}]}`, where an element
of `qas` has `id`, `question`, `answers` (each `text` and `answer_start`, counted in code
points) and, in 2.0, `is_impossible`. Any data in that form can be read.

Reference:
  Rajpurkar et al. 2016, arXiv 1606.05250; Rajpurkar et al. 2018, arXiv 1806.03822.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

VERSIONS = ("1.1", "2.0")
_PUBLISHED = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"


@dataclasses.dataclass(frozen=True)
class Answer:
    """A passage of a context: its text, and its first character's index (a code point)."""

    text: str
    start: int


@dataclasses.dataclass(frozen=True)
class Question:
    """One question.

    Args:
      id: the name by which predictions are scored.
      text: the question.
      context: index of the context that it is about.
      answers: those that count as right; none if the context does not answer it.
    """

    id: str
    text: str
    context: int
    answers: tuple[Answer, ...]


@dataclasses.dataclass(frozen=True)
class Questions:
    """One split: the questions, and the contexts that they share."""

    contexts: list[str]
    questions: list[Question]

    def __len__(self) -> int:
        return len(self.questions)

    def sample(self, count: int, seed: int) -> Questions:
        """Returns `count` of the questions, drawn by `seed`, or all if there are fewer."""
        if count >= len(self):
            return self
        drawn = np.random.default_rng(seed).choice(len(self), count, replace=False)
        chosen = [self.questions[index] for index in drawn]
        new_index = {old: new for new, old in enumerate(sorted({q.context for q in chosen}))}
        return Questions(
            [self.contexts[old] for old in new_index],
            [dataclasses.replace(q, context=new_index[q.context]) for q in chosen],
        )


@dataclasses.dataclass(frozen=True)
class SquadData:
    """Everything an experiment needs of the task.

    Args:
      train: what is trained on; of a question's answers the first.
      dev: what is evaluated.
      has_unanswerable: whether there may be no answer, as in SQuAD 2.0.
    """

    train: Questions
    dev: Questions
    has_unanswerable: bool

    def with_unlabelled(self) -> SquadData:
        """Returns itself: what is predicted is dev, for SQuAD's test is not published."""
        return self

    def fingerprint(self) -> int:
        """Returns the CRC-32 of all contexts, questions and answers, to tell changed files by."""
        digest = 0
        for split in (self.train, self.dev):
            digest = zlib.crc32("\0".join(split.contexts).encode(), digest)
            digest = zlib.crc32(repr(split.questions).encode(), digest)
        return digest


def read(data_dir: str | os.PathLike | None, version: str) -> SquadData:
    """Reads `train-v<version>.json` and `dev-v<version>.json`.

    Args:
      data_dir: the folder with the two files.
      version: one of `VERSIONS`.

    Raises:
      FileNotFoundError: a file is not there; the text says where it is published.
      ValueError: a file has another form, a question of 1.1 or every one of 2.0 to train on
        has no answer, or an answer does not stand where it says; the file and the question
        are named.
    """
    if version not in VERSIONS:
        raise ValueError(f"`version` must be one of {VERSIONS}. Received: version={version!r}")
    names = [f"{split}-v{version}.json" for split in ("train", "dev")]
    missing = [name for name in names if not data_dir or not pathlib.Path(data_dir, name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"--data_dir={data_dir or ''} must name a folder with {' and '.join(names)}; it lacks "
            f"{' and '.join(missing)}. SQuAD is published at "
            + " and ".join(_PUBLISHED + name for name in missing)
        )
    has_unanswerable = version == "2.0"
    train, dev = (_read_file(pathlib.Path(data_dir, name), has_unanswerable) for name in names)
    if not any(question.answers for question in train.questions):
        raise ValueError(
            f"{pathlib.Path(data_dir, names[0])}: no question has an answer, of which to learn"
        )
    return SquadData(train, dev, has_unanswerable)


def _read_file(path: pathlib.Path, has_unanswerable: bool) -> Questions:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # Not JSON, or not UTF-8.
        raise ValueError(f"{path} is not JSON in UTF-8: {error}") from error
    contexts: list[str] = []
    questions: dict[str, Question] = {}
    for where, paragraph in _paragraphs(content, str(path)):
        contexts.append(_get(paragraph, "context", str, where))
        for number, record in enumerate(_get(paragraph, "qas", list, where)):
            question = _question(record, contexts, has_unanswerable, path, f"{where}.qas[{number}]")
            if question.id in questions:
                raise ValueError(f"{path}: two questions have the id {question.id!r}")
            questions[question.id] = question
    if not questions:
        raise ValueError(f"{path} holds no questions")
    return Questions(contexts, list(questions.values()))


def _paragraphs(content: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields each paragraph and where it stands."""
    for i, article in enumerate(_get(content, "data", list, path)):
        where = f"{path}: data[{i}]"
        for j, paragraph in enumerate(_get(article, "paragraphs", list, where)):
            yield f"{where}.paragraphs[{j}]", paragraph


def _question(
    record: Any, contexts: list[str], has_unanswerable: bool, path: pathlib.Path, where: str
) -> Question:
    id_ = _get(record, "id", str, where)
    where = f"{path}: question {id_!r}"
    answers = tuple(
        _answer(answer, contexts[-1], where) for answer in _get(record, "answers", list, where)
    )
    if has_unanswerable:
        impossible = record.get("is_impossible", not answers)
        if impossible != (not answers):
            raise ValueError(
                f"{where} has {len(answers)} answers, but says `is_impossible` {impossible!r}"
            )
    elif not answers:
        raise ValueError(
            f"{where} has no answer. Only SQuAD 2.0 has such questions: for data with them use "
            "--task=squad_v2"
        )
    return Question(id_, _get(record, "question", str, where), len(contexts) - 1, answers)


def _answer(record: Any, context: str, where: str) -> Answer:
    text = _get(record, "text", str, where)
    start = _get(record, "answer_start", int, where)
    if not text.strip():
        raise ValueError(f"{where} has an empty answer: {text!r}")
    if start < 0 or not context.startswith(text, start):
        there = context[max(start, 0) :][: len(text)]
        raise ValueError(
            f"{where}: the answer {text!r} does not stand at `answer_start` {start} of the "
            f"context, where {there!r} does"
        )
    return Answer(text, start)


def _get(record: Any, key: str, kind: type, where: str) -> Any:
    value = record.get(key) if isinstance(record, dict) else record
    if not isinstance(record, dict) or not isinstance(value, kind) or isinstance(value, bool):
        name = {str: "a string", int: "a whole number", list: "a list"}[kind]
        raise ValueError(
            f"{where} must be an object whose {key!r} is {name}. Received: {str(value)[:80]!r}"
        )
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:  # JSON can spell one: "\ud83d".
            raise ValueError(f"{where}: {key!r} holds half of a surrogate pair: {error}") from error
    return value
