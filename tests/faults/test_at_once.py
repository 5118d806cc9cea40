"""Two commands at once on one workspace, equal or different: both end well, or one says who is at work."""

from __future__ import annotations

import random
import time

import pytest
from faults.modalities import OF_EACH
from faults.workbench import COMMANDS, NAME, Command, Workbench, named

PAIRS = [
    ("plan_and_preprocess", "train"),
    ("plan_and_preprocess", "predict"),
    ("train", "train_another"),
    ("train_another", "predict"),
    ("select", "predict"),
    ("select", "export"),
    ("export", "install"),
    ("train_another", "plan_and_preprocess"),
    ("plan_gaps", "train_gaps"),
    ("train_gaps", "predict_gaps"),
    ("plan_masks", "plan_gaps"),
    (f"train_{OF_EACH[0]}", f"train_{OF_EACH[1]}"),
    (f"train_{OF_EACH[1]}", "select_masks"),
    ("select_masks", "export_masks"),
]


def both(bench: Workbench, first: Command, second: Command, apart: float) -> None:
    """Starts the second so many seconds after the first; each ends well, or says in words why it cannot."""
    processes = [bench.start(first.words, said="first.txt")]
    time.sleep(apart)
    processes.append(bench.start(second.words, said="second.txt"))
    for process, file in zip(processes, ("first.txt", "second.txt")):
        code, said = process.wait(300), bench.said(file)
        assert "Traceback" not in said, said
        assert code in (0, 2), said


@pytest.mark.parametrize("apart", [0.0, 0.3])
def test_a_dataset_is_prepared_twice_at_once(short_bench: Workbench, apart: float) -> None:
    command = named("plan_and_preprocess")
    short_bench.lay(command)
    both(short_bench, command, command, apart)
    short_bench.completes(command)


@pytest.mark.long
@pytest.mark.parametrize("round_", range(3))
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_same_command_twice(bench: Workbench, command: Command, round_: int) -> None:
    bench.lay(command)
    both(bench, command, command, random.Random(f"{command.name} {round_}").uniform(0, 1.0))
    bench.completes(command)


@pytest.mark.long
@pytest.mark.parametrize("round_", range(2))
@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_different_commands(bench: Workbench, names: tuple[str, str], round_: int) -> None:
    first, second = map(named, names)
    later = max((first, second), key=COMMANDS.index)
    bench.lay(later)
    both(bench, first, second, random.Random(f"{names} {round_}").uniform(0, 1.0))
    assert (bench.root / "ws" / NAME / "plan.json").exists()
    bench.completes(later)
