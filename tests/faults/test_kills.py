"""Killed at any instant, by any signal: the same command ends as if nothing had happened, nothing finished redone."""

from __future__ import annotations

import random
import signal
import time

import pytest
from faults.workbench import COMMANDS, Command, Workbench, named

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ROUNDS = 4


def kill(bench: Workbench, command: Command, number: int, instant: float) -> int:
    """Starts the command and sends the signal after that share of its usual time; returns its exit code."""
    bench.lay(command)
    process = bench.start(command.words)
    time.sleep(instant * bench.seconds[command.name])
    process.send_signal(number)
    try:
        code = process.wait(60)
    finally:
        process.kill()
    if number != signal.SIGKILL:
        # While Python itself starts, nobody listens yet, and what it says is its own.
        assert "Traceback" not in bench.said() or "autoseg/cli.py" not in bench.said(), bench.said()
    return code


def instants(command: Command, number: int) -> list[float]:
    """Early and late, spread over the whole run."""
    drawn = random.Random(f"{command.name} {number}")
    return [(index + drawn.random()) / ROUNDS for index in range(ROUNDS)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("name", ["convert", "plan_and_preprocess"])
def test_what_was_killed_completes(short_bench: Workbench, name: str, number: signal.Signals) -> None:
    command = named(name)
    kill(short_bench, command, number, random.Random(f"{name} {number}").uniform(0.5, 1.0))
    short_bench.completes(command)


@pytest.mark.long
@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_was_killed_at_any_instant_completes(
    bench: Workbench, command: Command, number: signal.Signals, round_: int
) -> None:
    code = kill(bench, command, number, instants(command, number)[round_])
    started = "autoseg/cli.py" in bench.said() or "Traceback" not in bench.said()
    assert code in (0, 130, 128 + number, -number) or not started, bench.said()
    bench.completes(command)


@pytest.mark.long
@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("plan_and_preprocess", "prepared/*/[!.]*/case.json"),
        ("plan_gaps", "prepared/*/[!.]*/case.json"),
        ("plan_gaps", "measured/[!.]*.npz"),  # with how channels were registered
        ("plan_gaps", "measured/estimates/*/[!.]*.npz"),
    ],
)
def test_what_was_finished_is_not_made_again(bench: Workbench, name: str, pattern: str, round_: int) -> None:
    command = named(name)
    kill(bench, command, signal.SIGKILL, 0.3 + 0.7 * random.Random(round_).random())
    made = {path: path.stat().st_mtime_ns for path in bench.root.glob(f"ws/*/{pattern}")}
    bench.completes(command)
    assert made == {path: path.stat().st_mtime_ns for path in made}
