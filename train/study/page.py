"""A report as one page: no other file and no network is needed to read it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from train.study.drawing import Figure
from train.study.evidence import Evidence, Score
from train.study.figures import Drawn
from train.study.page_style import SCRIPT, STYLE
from train.study.table import Table, Value, sort_key

GENERATOR = "train.report of keras-adapters"
# No page of a report may load anything, whatever is in the runs' names.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(evidence: Evidence, tables: Sequence[Table], drawn: Drawn) -> str:
    """Returns the page in HTML.

    Args:
      evidence: what is reported on.
      tables: in the order in which they are shown; those that list come behind the figures.
      drawn: the figures.
    """
    lists = {"selected", "runs"}
    sections = [
        *((table.name, table.title, _table(table)) for table in tables if table.name not in lists),
        *((figure.name, figure.title, _figure(figure)) for figure in drawn.figures),
        *([("missing", "Figures that are not drawn", _missing(drawn))] if drawn.missing else []),
        *((table.name, table.title, _table(table)) for table in tables if table.name in lists),
    ]
    left_out = (*evidence.left_out, *drawn.left_out)
    if left_out:
        sections.append(("left-out", "Left out", _list(left_out)))
    count = len(evidence.runs)
    heading = f"What {count} runs show" if count > 1 else "What one run shows"
    where = "; ".join(condition.title for condition in evidence.conditions)
    contents = "".join(
        f'<li><a href="#{escape(name)}">{escape(title)}</a></li>\n' for name, title, _ in sections
    )
    body = "".join(
        f'<section id="{escape(name)}">\n<h2>{escape(title)}</h2>\n{content}</section>\n'
        for name, title, content in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{GENERATOR}">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{heading}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{heading}</h1>
<p>{escape(where)}. Click on a heading to sort its table.</p>
<nav aria-label="Contents">
<ul>
{contents}</ul>
</nav>
{body}</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _table(table: Table) -> str:
    numeric = [_is_numeric([row[i] for row in table.rows]) for i in range(len(table.columns))]
    headings = "".join(
        f'<th scope="col" aria-sort="none"{_class(is_number)}>'
        f'<button type="button">{escape(heading)}</button></th>\n'
        for heading, is_number in zip(table.columns, numeric, strict=True)
    )
    rows = "".join(f"<tr>{_row(table, row, numeric)}</tr>\n" for row in table.rows)
    title = escape(table.title)
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="{title}">
<table id="table-{escape(table.name)}">
<thead><tr>
{headings}</tr></thead>
<tbody>
{rows}</tbody>
</table>
</div>
<p class="note">{escape(table.note)}</p>
<p class="files">{_links("tables", table.name, ("csv", "md"))}</p>
"""


def _row(table: Table, row: Sequence[Value], numeric: Sequence[bool]) -> str:
    cells = []
    for column, value in enumerate(row):
        text, key = escape(table.text(column, value)), sort_key(value)
        if table.columns[column] == table.commands:
            text = f'<button type="button" class="copy">copy</button><code>{text}</code>'
        tag = "th" if column == 0 else "td"
        scope = ' scope="row"' if column == 0 else ""
        given = "" if key is None else f' data-value="{escape(str(key))}"'
        cells.append(f"<{tag}{scope}{_class(numeric[column])}{given}>{text}</{tag}>")
    return "".join(cells)


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.svg).decode()
    return f"""<figure>
<div class="scroll" tabindex="0" role="region" aria-label="{escape(figure.title)}">
<img src="data:image/svg+xml;base64,{data}" alt="{escape(figure.alt)}">
</div>
<figcaption>{escape(figure.caption)}</figcaption>
</figure>
<p class="files">{_links("figures", figure.name, ("png", "svg"))}</p>
"""


def _missing(drawn: Drawn) -> str:
    items = "".join(
        f"<li>{escape(each.title)}. There are no runs for it; these would give it:\n"
        f"<pre><code>{escape(each.command)}</code></pre></li>\n"
        for each in drawn.missing
    )
    return f"<ul>\n{items}</ul>\n"


def _list(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>\n" for sentence in sentences)
    return f"<ul>\n{items}</ul>\n"


def _links(folder: str, name: str, kinds: Sequence[str]) -> str:
    return " ".join(
        f'<a href="{folder}/{escape(name)}.{kind}">{kind.upper()}</a>' for kind in kinds
    )


def _is_numeric(values: Sequence[Value]) -> bool:
    found = [value for value in values if value is not None]
    return bool(found) and all(isinstance(value, int | float | Score) for value in found)


def _class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
