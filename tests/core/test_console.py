"""What a command says to people and to programs."""

from __future__ import annotations

import io
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.console import Console, plain
from autoseg.core.estimate import Estimate
from autoseg.core.progress import told


def objects(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logger(console: Console, stream: io.StringIO) -> logging.Logger:
    found = logging.Logger("any", logging.INFO)
    found.addHandler(console.handler(stream))
    return found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Path("a") / "b", "a/b"),
        (math.nan, None),
        (-math.inf, None),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ({1: (2, {"x"})}, {"1": [2, ["x"]]}),
        (Estimate(0.5, None, None, 2), {"mean": 0.5, "low": None, "high": None, "cases": 2}),
        (ValueError("wrong"), "wrong"),
    ],
    ids=repr,
)
def test_any_value_becomes_json(value: object, expected: object) -> None:
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_people_read_text_and_programs_fields(capsys: pytest.CaptureFixture[str]) -> None:
    Console().result("a table", rows=1)
    assert capsys.readouterr().out == "a table\n"
    Console().result("", rows=1)
    assert capsys.readouterr().out == ""
    console = Console(programs=io.StringIO())
    console.result("a table", rows=1)
    console.result("another", more=Path("x"), text=["a", "b"])
    assert capsys.readouterr().out == "" and console.fields == {"rows": 1, "more": Path("x"), "text": ["a", "b"]}


def test_every_log_record_is_one_whole_line_for_programs() -> None:
    stream = io.StringIO()
    log = logger(Console(programs=stream), io.StringIO())
    log.info("two\nlines of \u4f60 and \udce4")
    log.warning("%d problems", 2)
    log.info("half way", extra=told("preparing", 5, 10, math.inf, doing="a"))
    assert stream.getvalue().isascii()
    assert objects(stream) == [
        {"kind": "message", "level": "info", "text": "two\nlines of \u4f60 and \udce4"},
        {"kind": "message", "level": "warning", "text": "2 problems"},
        {"kind": "progress", "what": "preparing", "done": 5, "total": 10, "seconds_left": None, "doing": "a"},
    ]


def test_quiet_keeps_warnings_for_people_and_for_programs() -> None:
    people, programs = io.StringIO(), io.StringIO()
    for console, stream in ((Console(quiet=True), people), (Console(quiet=True, programs=programs), io.StringIO())):
        log = logger(console, stream)
        log.info("fine")
        log.warning("hm\x1b[2J")
        log.error("no")
    assert people.getvalue() == "hm\\x1b[2J\nno\n"
    assert [line["text"] for line in objects(programs)] == ["hm\x1b[2J", "no"]


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_where_nobody_reads_the_work_goes_on_and_its_end_tells(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (Console(), Console(programs=Closed())):
        logger(console, Closed()).info("lost")
    assert capsys.readouterr().err == ""
    with pytest.raises(BrokenPipeError):
        Console(programs=Closed()).line("result")
