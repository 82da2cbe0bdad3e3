"""A BERT's vocabulary, one WordPiece token a line; needs no TensorFlow."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence


def read_vocabulary(path: pathlib.Path) -> list[str]:
    """Reads a `vocab.txt`: the token of line n + 1 has the id n.

    Raises:
      FileNotFoundError: there is no such file.
      IsADirectoryError: a folder has its name.
      ValueError: it is not UTF-8, or a line is empty, holds U+0000 or repeats an earlier one;
        the text names file, lines and token.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: the encoder's vocabulary is read from a file")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the encoder's vocabulary is read from it")
    try:
        tokens = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error
    line_of: dict[str, int] = {}
    for line, token in enumerate(tokens, 1):
        if not token or "\0" in token:
            raise ValueError(f"{path}:{line} must hold a token. Received: {token!r}")
        first = line_of.setdefault(token, line)
        if first != line:
            raise ValueError(f"{path} repeats the token {token!r}, in the lines {first} and {line}")
    return tokens


def is_lower_case(tokens: Sequence[str]) -> bool:
    """Returns whether a vocabulary is uncased: lower-casing would change none of its tokens.

    What stands in square brackets, [CLS] or [unused1], does not count.
    """
    return all(t == t.lower() for t in tokens if not (t.startswith("[") and t.endswith("]")))
