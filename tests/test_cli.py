"""Flags become arguments; times are read as people write them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from autoseg import commands
from autoseg.cli import parser
from autoseg.commands._flags import bytes_, seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("20m", 1200), ("12h", 43200), ("1h30m", 5400), ("5", 300), ("0.5h", 1800)]
)
def test_times_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "0s", "-5m", "m", "5 min"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seconds(text)


def test_an_amount_of_memory_that_is_none_is_refused_with_an_example() -> None:
    assert bytes_("4GB") == 4e9
    with pytest.raises(argparse.ArgumentTypeError, match="8GB"):
        bytes_("4")


def test_every_command_has_its_function_and_help() -> None:
    steps = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert {"plan_and_preprocess", "train", "predict"} <= set(steps.choices)
    for step in steps.choices.values():
        assert callable(step.get_default("run"))
        assert step.description


def test_every_file_of_a_command_is_listed() -> None:
    folder = Path(commands.__file__).parent
    assert sorted(commands.NAMES) == sorted(path.stem for path in folder.glob("[!_]*.py"))


def test_the_module_and_the_command_are_the_same() -> None:
    said = subprocess.run([sys.executable, "-m", "autoseg", "--help"], capture_output=True, text=True, check=True)
    assert "plan_and_preprocess" in said.stdout


def test_the_workspace_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSEG_WORKSPACE", "somewhere")
    assert str(parser().parse_args(["train", "D", "0"]).workspace) == "somewhere"
