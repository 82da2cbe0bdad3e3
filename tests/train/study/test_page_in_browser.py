"""The page of a report as a browser shows it."""

import itertools
import json
import os
import pathlib
import re
import runpy
import subprocess

import pytest
from websockets.sync.client import connect

from train.study.page import page
from train.study.tables import tables

INSTALL = pathlib.Path(__file__).with_name("install_browser.py")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
CLICK = "document.querySelector('#table-{table} th:nth-child({column}) button')"
TEXTS = "[...document.querySelectorAll('#table-{table} tbody tr')].map(r => r.cells[{column}].{of})"


def find_browser():
    found = runpy.run_path(str(INSTALL))["find"]()
    if found is None:
        pytest.fail(f"there is no Chromium; {INSTALL} installs one")
    return found


class Page:
    """A page in a browser, driven by Chrome's DevTools protocol."""

    def __init__(self, address):
        self._socket = connect(address, max_size=None)
        self._ids = itertools.count(1)
        self._session = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        self.requests = []

    def call(self, method, **params):
        number = next(self._ids)
        self._socket.send(
            json.dumps({"id": number, "method": method, "params": params, **self._session})
        )
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def ask(self, expression):
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url, width):
        self.call("Network.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.call("Page.navigate", url=url)
        while self.ask("document.readyState + location.href") != f"complete{url}":
            pass

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=code,
                      windowsVirtualKeyCode=ord(code))  # fmt: skip

    def close(self):
        self._socket.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    process = subprocess.Popen(
        [find_browser(), *FLAGS, f"--user-data-dir={profile}"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "HOME": str(profile)},
    )
    try:
        lines = iter(process.stderr.readline, "")
        found = next(filter(None, (re.search(r"ws://\S+", line) for line in lines)), None)
        assert found, "the browser has ended before it listened"
        page = Page(found.group())
        yield page
        page.close()
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def url(evidence, drawn, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(page(evidence, tables(evidence), drawn), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_is_wider_than_the_window(browser, url, width):
    browser.open(url, width)
    assert browser.ask("innerWidth") == width
    assert browser.ask("document.documentElement.scrollWidth") <= width
    # What is wider scrolls in a container of its own.
    wide = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && "
    wide += f"e.getBoundingClientRect().right > {width}).map(e => e.outerHTML.slice(0, 80))"
    assert browser.ask(wide) == []
    sizes = browser.ask(
        "[...document.querySelectorAll('p, td, th, li, figcaption')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 14


def test_every_figure_is_shown_and_nothing_is_loaded(browser, url):
    browser.requests.clear()
    browser.open(url, 1280)
    widths = browser.ask("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert widths
    assert all(widths)
    assert [r for r in browser.requests if not r.startswith("data:")] == [url]


def column_of(browser, table, heading):
    headings = "[...document.querySelectorAll('#table-{} th button')].map(b => b.textContent)"
    return browser.ask(headings.format(table)).index(heading)


def values(browser, table, column):
    return browser.ask(TEXTS.format(table=table, column=column, of="dataset.value || null"))


def test_a_click_sorts_by_numbers_and_another_turns_them_round(browser, url):
    browser.open(url, 1280)
    column = column_of(browser, "runs", "learning rate")
    before = [float(x) for x in values(browser, "runs", column)]
    assert before != sorted(before)
    button = CLICK.format(table="runs", column=column + 1)
    for order, reverse in (("ascending", False), ("descending", True), ("ascending", False)):
        browser.ask(f"{button}.click()")
        now = [float(x) for x in values(browser, "runs", column)]
        assert now == sorted(before, reverse=reverse)
        sorts = browser.ask(
            "[...document.querySelectorAll('#table-runs th[aria-sort]')]"
            ".map(t => t.getAttribute('aria-sort')).filter(s => s !== 'none')"
        )
        assert sorts == [order]


@pytest.mark.parametrize(("key", "code"), [("Enter", "\r"), (" ", " ")])
def test_the_keyboard_sorts_too(browser, url, key, code):
    browser.open(url, 1280)
    browser.ask(CLICK.format(table="selected", column=1) + ".focus()")
    browser.press(key, code)
    found = values(browser, "selected", 0)
    assert found == sorted(found)
    assert browser.ask("document.activeElement.parentElement.ariaSort") == "ascending"


def test_what_is_not_there_comes_last_in_either_order(browser, url):
    browser.open(url, 1280)
    column = column_of(browser, "runs", "test")
    for _ in range(2):
        browser.ask(CLICK.format(table="runs", column=column + 1) + ".click()")
        found = [value is None for value in values(browser, "runs", column)]
        assert any(found)
        assert found == sorted(found)


def test_a_command_can_be_copied(browser, url):
    browser.open(url, 1280)
    copied = browser.ask(
        "new Promise(done => {"
        " Object.defineProperty(navigator, 'clipboard', {value: {writeText: async t => done(t)}});"
        " document.querySelector('.copy').click() })"
    )
    assert copied.startswith("python -m train.run --task=")
    assert copied == browser.ask("document.querySelector('.copy ~ code').textContent")
