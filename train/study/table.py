"""A table: values with their headings, as Markdown, as CSV, and as a page shows them."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any

from train.study.evidence import Score

SCORES = (
    "Scores are in points: 100 is the best there is. They are the mean over seeds ± the standard "
    "deviation, with the number of seeds in brackets."
)
Value = str | int | float | Score | None
_NOTHING = "–"
_FORMAT = ".2f"


@dataclasses.dataclass(frozen=True)
class Table:
    """Values with headings.

    Args:
      name: of its files.
      title: its heading.
      note: what its numbers are, in sentences.
      columns: the headings.
      rows: a value for each column; numbers are shown as `shown` says.
      formats: how numbers that are no integers are shown, by heading; else with 2 decimals.
      commands: heading of the column that holds commands, if there is one.
    """

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    formats: tuple[tuple[str, str], ...] = ()
    commands: str | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} for {len(self.columns)} columns: {row}")

    def text(self, column: int, value: Value) -> str:
        """Returns a value of a column as tables show it."""
        return shown(value, dict(self.formats).get(self.columns[column], _FORMAT))

    def to_markdown(self) -> str:
        """Returns the table in Markdown, without title and note."""
        lines = [self.columns, ["---"] * len(self.columns)]
        lines += [[self.text(i, value) for i, value in enumerate(row)] for row in self.rows]
        return "".join(f"| {' | '.join(map(_in_a_cell, line))} |\n" for line in lines)

    def to_text(self) -> str:
        """Returns the table for a terminal: columns of even width, the first to the left."""
        lines = [list(self.columns)]
        lines += [[self.text(i, value) for i, value in enumerate(row)] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "".join(
            "  ".join(
                text.rjust(width) if column else text.ljust(width)
                for column, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            + "\n"
            for line in lines
        )

    def to_csv(self) -> str:
        """Returns the table as CSV, its numbers unrounded; a score takes three columns.

        These are the mean in points, the standard deviation and the number of seeds.
        """
        columns = range(len(self.columns))
        wide = [any(isinstance(row[i], Score) for row in self.rows) for i in columns]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(
            cell
            for heading, is_wide in zip(self.columns, wide, strict=True)
            for cell in ([heading, f"{heading}, sd", f"{heading}, n"] if is_wide else [heading])
        )
        for row in self.rows:
            writer.writerow(
                cell
                for value, is_wide in zip(row, wide, strict=True)
                for cell in (_three(value) if is_wide else [value])
            )
        return text.getvalue()


def shown(value: Value, form: str = _FORMAT) -> str:
    """Returns a value as tables show it.

    Args:
      value: a score is shown as `mean ± standard deviation (seeds)`.
      form: how numbers that are no integers are formatted; what rounds to zero and is not is
        shown by its power of ten.
    """
    if value is None:
        return _NOTHING
    if isinstance(value, Score):
        deviation = "" if value.deviation is None else f" ± {value.deviation:{form}}"
        count = f" ({value.count})" if value.count else ""
        return f"{value.mean:{form}}{deviation}{count}"
    if isinstance(value, float):
        text = f"{value:{form}}"
        return text if value == 0 or float(text) else f"{value:.0e}"
    return f"{value:,}" if isinstance(value, int) else value


def sort_key(value: Value) -> str | float | None:
    """Returns what a column of a page sorts a value by."""
    return value.mean if isinstance(value, Score) else value


def _three(value: Any) -> list[Any]:
    if isinstance(value, Score):
        return [value.mean, value.deviation, value.count]
    return [value, None, None]


def _in_a_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
