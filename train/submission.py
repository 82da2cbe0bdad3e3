"""Puts what finished runs have predicted into the zip that GLUE's site scores.

    python -m train.submission --runs=runs/glue --output=submission.zip

It is handed in at https://gluebenchmark.com/submit.
"""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from train import command
from train.objectives.text.predictions import FILES, FOLDER, write_zip

_RUNS = flags.DEFINE_string("runs", None, "A folder with finished runs of GLUE tasks in it.")
_OUTPUT = flags.DEFINE_string("output", "submission.zip", "The zip to write.")


def collect(runs: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Finds the predictions of the finished runs in and below a folder.

    Returns:
      The path of each name in `FILES` that has been predicted, in that order.

    Raises:
      ValueError: two runs have predicted the same split, or none has predicted any.
    """
    found: dict[str, pathlib.Path] = {}
    for results in sorted(pathlib.Path(runs).rglob("results.json")):
        for path in sorted(results.parent.glob(f"{FOLDER}/*.tsv")):
            first = found.setdefault(path.stem, path)
            if first != path:
                raise ValueError(
                    f"two runs have predicted {path.stem}: {first} and {path}. Name a folder of "
                    "--runs that holds one of them"
                )
    known = {name: found[name] for name in FILES if name in found}
    if not known:
        raise ValueError(f"--runs={runs} holds no finished run with predictions of GLUE in it")
    return known


def main(argv: Sequence[str]) -> None:
    """Writes the zip, and says what it lacks."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        files = collect(_RUNS.value)
        write_zip(_OUTPUT.value, files)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{_OUTPUT.value} holds {', '.join(files)}")
    missing = [name for name in FILES if name not in files]
    if missing:
        print(f"It lacks {', '.join(missing)}; the site scores all {len(FILES)} together")


if __name__ == "__main__":
    flags.mark_flag_as_required("runs")
    command.run(main)
