"""Shows what finished runs show together: tables, figures and a page.

    python -m train.report --runs=runs --output_dir=report

It trains nothing and loads no model. The same runs give the same files.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from keras_adapters.atomic import atomic_folder
from train import command
from train.study.drawing import check_matplotlib
from train.study.evidence import Evidence, gather
from train.study.figures import Drawn, figures
from train.study.page import GENERATOR, page
from train.study.table import Table
from train.study.tables import tables

FLAGS = flags.FLAGS
_PAGE = "index.html"


def main(argv: Sequence[str]) -> None:
    """Reads the flags, writes the report, and prints its first tables and where it is."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        output = pathlib.Path(FLAGS.output_dir)
        check_output(output)
        check_matplotlib()
        evidence = gather(FLAGS.runs)
        found, drawn = tables(evidence), figures(evidence)
        write(output, evidence, found, drawn)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    for table in found:
        if table.name.startswith("results"):
            print(f"{table.title}\n{table.to_text()}")
    left_out = (*evidence.left_out, *drawn.left_out)
    print("".join(f"left out: {sentence}\n" for sentence in left_out), end="")
    print(f"{len(evidence.runs)} runs, {len(found)} tables, {len(drawn.figures)} figures")
    print(output / _PAGE)


def check_output(output: pathlib.Path) -> None:
    """Checks that a report may be written to a folder; what else is there would be lost.

    Raises:
      FileExistsError: it is a file, or a folder that holds something and no report.
    """
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"--output_dir={output} is a file")
    if not output.is_dir() or not any(output.iterdir()):
        return
    earlier = output / _PAGE
    if not earlier.is_file() or GENERATOR.encode() not in earlier.read_bytes():
        raise FileExistsError(
            f"--output_dir={output} holds something else than a report. Name a new folder, an "
            "empty one, or that of an earlier report, which is replaced"
        )


def write(output: pathlib.Path, evidence: Evidence, found: Sequence[Table], drawn: Drawn) -> None:
    """Writes a report's folder, whole or not at all.

    Args:
      output: the folder; an earlier report in it is replaced.
      evidence: what is reported on.
      found: the tables.
      drawn: the figures.

    Raises:
      OSError: it cannot be written; what stood there still does.
    """
    contents = {_PAGE: page(evidence, found, drawn).encode()}
    for table in found:
        heading = f"# {table.title}\n\n{table.note}\n\n"
        contents[f"tables/{table.name}.md"] = (heading + table.to_markdown()).encode()
        contents[f"tables/{table.name}.csv"] = table.to_csv().encode()
    for figure in drawn.figures:
        contents[f"figures/{figure.name}.png"] = figure.png
        contents[f"figures/{figure.name}.svg"] = figure.svg
    try:
        with atomic_folder(output) as folder:
            for name, content in contents.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(content)
    except OSError as error:
        raise OSError(f"--output_dir={output} cannot be written: {error}") from error


if __name__ == "__main__":
    # Here alone, for other commands have flags of the same names.
    flags.DEFINE_multi_string("runs", None, "A folder with finished runs; may be given again.")
    flags.DEFINE_string("output_dir", None, "Folder for the report; an earlier one is replaced.")
    flags.mark_flags_as_required(["runs", "output_dir"])
    command.run(main)
