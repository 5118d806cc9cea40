"""A full disk, writes that fail, little memory, an input that vanishes: said in words; then the command completes."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from faults.workbench import COMMANDS, Command, Workbench, ended_in_words, named

WRITING = [command for command in COMMANDS if command.makes]


def size_of(bench: Workbench) -> int:
    """Bytes that a file system of whole pages needs for all below the root."""
    return sum(-(-path.stat().st_size // 4096) * 4096 + 4096 for path in bench.root.rglob("*"))


@pytest.fixture
def small_disk(bench: Workbench) -> Iterator[Callable[[int], None]]:
    """Makes the root a disk of so many bytes; called again, it grows."""
    state = {"mounted": False}

    def sized(size: int) -> None:
        options = f"size={size},nr_inodes=0" + (",remount" if state["mounted"] else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(bench.root)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting a small disk is not allowed here")
        state["mounted"] = True

    shutil.rmtree(bench.root, ignore_errors=True)
    bench.root.mkdir()
    yield sized
    if state["mounted"]:
        subprocess.run(["umount", "-l", str(bench.root)], check=True)


@pytest.mark.long
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("command", WRITING, ids=lambda command: command.name)
def test_a_full_disk(bench: Workbench, small_disk: Callable[[int], None], command: Command, share: float) -> None:
    small_disk(1 << 30)
    bench.lay(command)
    before = size_of(bench)
    assert bench.run(command.words).code == 0
    needed = size_of(bench) - before
    bench.lay(command)
    small_disk(before + 8192 + int(share * needed))
    outcome = bench.run(command.words)
    if outcome.code != 0:
        ended_in_words(outcome)
    small_disk(1 << 30)
    bench.completes(command)


def no_larger_files(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.long
@pytest.mark.parametrize("size", [400, 4000, 20_000])
@pytest.mark.parametrize("command", WRITING, ids=lambda command: command.name)
def test_a_write_that_fails(bench: Workbench, command: Command, size: int) -> None:
    bench.lay(command)
    outcome = bench.run(command.words, no_larger_files(size))
    assert "Traceback" not in outcome.said, outcome.said
    assert outcome.code in (0, 1, 2), outcome.said
    bench.completes(command)


def little_memory(megabytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))


@pytest.mark.long
@pytest.mark.parametrize("megabytes", [100, 200, 400])
@pytest.mark.parametrize("command", WRITING, ids=lambda command: command.name)
def test_little_memory(bench: Workbench, command: Command, megabytes: int) -> None:
    """A library may end the process where it finds no memory for itself; nothing else may come of it."""
    bench.lay(command)
    outcome = bench.run(command.words, little_memory(megabytes))
    if outcome.code == 0:
        assert bench.made(command) == bench.undisturbed[command.name]
    bench.completes(command)


@pytest.mark.long
@pytest.mark.parametrize("round_", range(4))
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("convert", "Task01_Tiny/imagesTr/*.nii.gz"),
        ("plan_and_preprocess", "raw/Dataset900_Tiny/imagesTr/*.nii.gz"),
        ("train", "raw/Dataset900_Tiny/imagesTr/*.nii.gz"),
        ("train", "ws/Dataset900_Tiny/prepared/*/*/image.b2nd"),
        ("predict", "raw/Dataset900_Tiny/imagesTs/*.nii.gz"),
        ("evaluate", "raw/Dataset900_Tiny/labelsTs/*.nii.gz"),
        ("select", "raw/Dataset900_Tiny/labelsTr/*.nii.gz"),
        ("plan_gaps", "raw/Dataset902_Gaps/imagesTr/*_0000.nii.gz"),
        ("train_gaps", "ws/Dataset902_Gaps/prepared/*/*/image.b2nd"),
        ("train_gaps", "raw/Dataset902_Gaps/imagesTr/*_0001.nii.gz"),
        ("predict_gaps", "raw/Dataset902_Gaps/imagesTs/*_0001.nii.gz"),
        ("plan_masks", "raw/Dataset903_Masks/labelsTr/*.nii.gz"),
        ("select_masks", "raw/Dataset903_Masks/labelsTr/*.nii.gz"),
    ],
)
def test_an_input_that_vanishes_while_it_is_needed(bench: Workbench, name: str, pattern: str, round_: int) -> None:
    command, drawn = named(name), random.Random(f"{name} {pattern} {round_}")
    bench.lay(command)
    process = bench.start(command.words)
    time.sleep(drawn.uniform(0.2, 1.0) * bench.seconds[name])
    path = drawn.choice(sorted(bench.root.glob(pattern)))
    away = bench.folder / "away"
    path.rename(away)
    code = process.wait(120)
    assert code in (0, 1, 2) and "Traceback" not in bench.said(), bench.said()
    if not path.exists():  # a prepared case is made again by itself
        path.parent.mkdir(parents=True, exist_ok=True)
        away.rename(path)
    bench.completes(command)
