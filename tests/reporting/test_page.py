"""A page is one file that nothing in a name can break, complete or absent."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autoseg.errors import UsageError
from autoseg.reporting import page as pages
from autoseg.reporting.blocks import Column, Facts, Heading, Notice, Section, Table, number
from autoseg.reporting.page import MARK, Page, json_in_page, refuse_foreign, render, write

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 & \" ' <img src=x onerror=alert(1)> \ud800"


class Scripts(HTMLParser):
    """Mutable: what a browser finds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.tags: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "script"

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data


def page(text: str = HOSTILE.replace("\ud800", "")) -> Page:
    table = Table(text, (Column(text),), ((text,),), text)
    blocks = (Heading(text), Notice(text), Facts(((text, text),)), table)
    return Page(text, text, "1", (Section("one", "One", blocks),), (text,))


def test_names_are_text_whatever_they_hold() -> None:
    found = Scripts(render(page()))
    assert len(found.scripts) == 2 and "img" not in found.tags
    (block,) = json.loads(found.scripts[0])
    assert block["title"] == block["rows"][0][0] == HOSTILE.replace("\ud800", "")


def test_json_in_a_page_ends_no_script_and_comes_back() -> None:
    text = json_in_page([HOSTILE, 1.5, None])
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == [HOSTILE, 1.5, None]
    with pytest.raises(ValueError, match="Out of range"):
        json_in_page([float("nan")])


def test_numbers_are_those_of_csv_files() -> None:
    assert [number(value) for value in (None, float("nan"), float("inf"), 1 / 3, 1234567.0)] == [
        None, None, None, 0.333333, 1234570.0,
    ]  # fmt: skip


def test_a_page_loads_nothing_from_elsewhere() -> None:
    text = render(page("plain"))
    assert "default-src 'none'" in text
    addresses = re.findall(r"(?:https?:)?//[a-z0-9.]+", text.replace("http://www.w3.org/2000/svg", ""))
    assert not addresses and not re.findall(r'(?:src|href)="(?!#|data:)', text)


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "report.html"
    write(path, page("first"))
    before = path.read_text(encoding="utf-8")
    assert MARK in before and before.endswith("</html>")

    def broken(page: Page) -> str:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(pages, "render", broken)
    with pytest.raises(RuntimeError):
        write(path, page("second"))
    assert path.read_text(encoding="utf-8") == before and [*path.parent.iterdir()] == [path]


def test_only_a_report_is_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<html>my own</html>")
    for path in (mine, tmp_path):
        with pytest.raises(UsageError, match="-o"):
            refuse_foreign(path)
    write(tmp_path / "report.html", page("first"))
    write(tmp_path / "report.html", page("second"))
    assert mine.read_text() == "<html>my own</html>"
