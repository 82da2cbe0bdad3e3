import csv
import html.parser
import io
import re

import pytest

from train.study.evidence import gather
from train.study.figures import Drawn, Missing, figures
from train.study.page import page
from train.study.table import Table
from train.study.tables import tables

VOID = ("meta", "img", "link", "br")


class Parsed(html.parser.HTMLParser):
    """Elements, each closed in its order, and the tables' cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.tables, self.texts = [], [], {}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs)
        self.seen.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(attributes["id"].removeprefix("table-"), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append({"text": "", **attributes})

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1]["text"] += data

    def all(self, tag):
        return [attributes for seen, attributes in self.seen if seen == tag]


@pytest.fixture(scope="module")
def found(evidence):
    return tables(evidence)


@pytest.fixture(scope="module")
def text(evidence, found, drawn):
    return page(evidence, found, drawn)


@pytest.fixture(scope="module")
def parsed(text):
    return Parsed(text)


def test_nothing_comes_from_elsewhere(text, parsed):
    assert re.findall(r"https?://|@import|url\(", text) == []
    assert not parsed.all("link")
    assert not any("src" in script for script in parsed.all("script"))
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in parsed.all("img"))
    (policy,) = [m["content"] for m in parsed.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'")


def test_every_table_has_the_numbers_of_its_csv(found, parsed):
    assert list(parsed.tables) == [table.name for table in found]
    for table in found:
        lines = list(csv.reader(io.StringIO(table.to_csv())))
        headings, *rows = parsed.tables[table.name]
        names = lines[0]
        assert [cell["text"] for cell in headings] == [
            name for name in names if not name.endswith((", sd", ", n"))
        ]
        shown = [names.index(cell["text"]) for cell in headings]
        assert [[cell.get("data-value", "") for cell in row] for row in rows] == [
            [line[index] for index in shown] for line in lines[1:]
        ]


def test_headings_are_buttons_that_say_how_they_sort(parsed, found):
    headings = [cell for rows in parsed.tables.values() for cell in rows[0]]
    assert all(cell["scope"] == "col" and cell["aria-sort"] == "none" for cell in headings)
    copies = len(found[-1].rows)
    assert len(parsed.all("button")) == len(headings) + copies


def test_every_figure_has_its_text_and_caption(parsed, drawn):
    assert [image["alt"] for image in parsed.all("img")] == [f.alt for f in drawn.figures]
    assert {figure.caption for figure in drawn.figures} <= set(parsed.texts)


def test_links_lead_to_sections_and_to_the_reports_files(parsed, found, drawn):
    sections = [section["id"] for section in parsed.all("section")]
    assert len(sections) == len(set(sections))
    links = [link["href"] for link in parsed.all("a")]
    assert [link[1:] for link in links if link.startswith("#")] == sections
    files = {f"tables/{table.name}.{kind}" for table in found for kind in ("csv", "md")}
    files |= {
        f"figures/{figure.name}.{kind}" for figure in drawn.figures for kind in ("png", "svg")
    }
    assert {link for link in links if not link.startswith("#")} == files


def test_text_is_no_markup(tmp_path, write_run):
    evil = "<script>alert('&quot;\"')</script>"
    write_run(tmp_path / "run", encoder=evil, task="csv", train_file=f"{evil}.csv")
    (tmp_path / evil.replace("/", "")).mkdir()
    (tmp_path / evil.replace("/", "") / "config.json").write_text("{")
    evidence = gather([tmp_path])
    table = Table("name", evil, evil, (evil,), ((evil,),))
    drawn = Drawn((), (Missing(evil, evil),), (evil,))
    parsed = Parsed(page(evidence, [table, *tables(evidence)], drawn))
    assert len(parsed.all("script")) == 1
    assert parsed.texts.count(evil) >= 5


def test_a_report_of_one_run(tmp_path, write_run):
    write_run(tmp_path / "run")
    evidence = gather([tmp_path])
    parsed = Parsed(page(evidence, tables(evidence), figures(evidence)))
    assert "What one run shows" in "".join(parsed.texts)
    ids = [section["id"] for section in parsed.all("section")]
    assert ids == ["results-minilm_l6-all", "missing", "selected", "runs"]
