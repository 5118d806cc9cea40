"""A clock that jumps, by a year either way, before a command or while it runs, changes nothing."""

from __future__ import annotations

import os

import pytest
from faults.workbench import COMMANDS, Command, Workbench, named

YEAR = 365 * 86400.0
JUMPING = """
import time
began, real, jump = time.monotonic(), time.time, {jump}
time.time = lambda: real() + (jump if time.monotonic() - began > {after} else 0.0)
"""


def jumping(bench: Workbench, jump: float, after: float) -> str:
    """A folder whose sitecustomize moves what every process takes for the time."""
    folder = bench.folder / "clock"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(JUMPING.format(jump=jump, after=after))
    return str(folder)


@pytest.mark.long
@pytest.mark.parametrize("jump", [-YEAR, YEAR])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_jump_while_it_runs(bench: Workbench, command: Command, jump: float) -> None:
    bench.lay(command)
    path = jumping(bench, jump, after=0.7 * bench.seconds[command.name])
    outcome = bench.run(command.words, PYTHONPATH=os.pathsep.join([path, os.environ.get("PYTHONPATH", "")]))
    assert outcome.code == 0, outcome.said
    assert bench.made(command) == bench.undisturbed[command.name]
    bench.completes(command)


@pytest.mark.long
@pytest.mark.parametrize("jump", [-YEAR, YEAR])
def test_files_from_another_year_are_neither_read_nor_prepared_again(bench: Workbench, jump: float) -> None:
    bench.lay(named("train"))
    for path in bench.root.rglob("*"):
        state = path.stat()
        os.utime(path, (state.st_atime + jump, state.st_mtime + jump))
    outcome = bench.run(named("plan_and_preprocess").words)
    assert outcome.code == 0 and "0 cases prepared" in outcome.said, outcome.said
