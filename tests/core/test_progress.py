"""What is shown while work goes on: by items, and by what is reached within one that takes long."""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from autoseg.core import progress as module
from autoseg.core.progress import DISPLAY, PROGRESS, Reached, clock_time, progress

LIMIT = 60  # seconds


class Terminal(io.StringIO):
    """Also says when something was written that somebody waits for."""

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self.wanted, self.found = wanted, threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        if self.wanted in self.getvalue():
            self.found.set()
        return count


class Said(logging.Handler):
    """Collects log lines and tells of each."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.found = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.found.set()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", {True: 0.01, False: 0.01})


def until(found: threading.Event) -> Iterator[str]:
    """Three items, of which the second is not done before the event."""
    yield "first"
    assert found.wait(LIMIT)
    yield from ("second", "third")


@pytest.mark.usefixtures("often")
def test_a_log_says_how_far_the_item_is_that_takes_long(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()
    with caplog.at_level("INFO", logger="autoseg"):
        module.LOG.addHandler(said)
        try:
            seen = list(progress(until(said.found), 3, "predicting", lambda: Reached(1.5, "patch 12 of 24")))
        finally:
            module.LOG.removeHandler(said)
    assert seen == ["first", "second", "third"]
    assert said.lines[0].startswith("predicting: 1 of 3 done, patch 12 of 24, ") and said.lines[0].endswith(" left")


@pytest.mark.usefixtures("often")
def test_a_bar_moves_within_an_item_and_never_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal("patch 12 of 24")
    monkeypatch.setattr(sys, "stderr", terminal)
    shares = iter([1.5] + 10_000 * [0.75])
    seen = list(progress(until(terminal.found), 3, "predicting", lambda: Reached(next(shares), "patch 12 of 24")))
    shown = [line for line in terminal.getvalue().split("\r") if line.startswith("predicting:")]
    assert seen == ["first", "second", "third"]
    assert any("1.5 of 3" in line for line in shown) and not any("0.8 of 3" in line for line in shown)


@pytest.mark.usefixtures("often")
def test_nothing_looks_any_more_once_the_work_has_failed() -> None:
    looks: list[threading.Thread] = []

    def look() -> Reached:
        looks.append(threading.current_thread())
        return Reached(0.0, "")

    def work() -> Iterator[str]:
        yield "first"
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        list(progress(work(), 2, "predicting", look))
    assert not any(thread.name == "progress" for thread in threading.enumerate())


def test_who_asks_for_silence_or_lines_gets_no_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, often: None) -> None:
    terminal = Terminal("%")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(DISPLAY, "bars", False)
    assert [*progress(range(3), 3, "counting")] == [0, 1, 2]
    assert [*progress(range(3), 3, "counting", lambda: Reached(1, ""))] == [0, 1, 2]
    assert terminal.getvalue() == ""


def test_a_line_also_holds_numbers_for_programs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO, "autoseg"):
        assert [*progress(range(3), 3, "counting")] == [0, 1, 2]
    told = [getattr(record, PROGRESS) for record in caplog.records]
    assert [(each["what"], each["done"], each["total"]) for each in told] == [("counting", 1, 3), ("counting", 2, 3)]
    assert all(each["seconds_left"] >= 0 for each in told)


def test_a_time_of_today_needs_no_date() -> None:
    noon = time.mktime((2026, 3, 4, 12, 0, 0, 0, 0, -1))
    assert clock_time(90 * 60, noon) == "13:30"
    assert clock_time(12 * 3600, noon) == "2026-03-05 00:00"
    assert clock_time(1e300, noon).startswith("2126-")
