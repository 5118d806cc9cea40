"""What a plan is made for: read from a word or from numbers, and what a training takes of it."""

from __future__ import annotations

import pytest

from autoseg.errors import UsageError
from autoseg.plan import StepMemory
from autoseg.planning.target import GPU_BESIDE, TARGETS, Target, bytes_text, gpu, read_bytes, read_target


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8e9), ("500 mb", 5e8), ("7.5GiB", 7.5 * 2**30), ("8", 8e9), ("24G", 24e9), ("1936GB", 1.936e12)],
)
def test_an_amount_of_memory(text: str, size: float) -> None:
    assert read_bytes(text) == int(size)


@pytest.mark.parametrize("text", ["", "much", "0GB", "-3GB", "8 GB/s", "GB"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no amount of memory"):
        read_bytes(text)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_known_target_holds_what_its_name_says_and_has_a_speed(name: str) -> None:
    target = read_target(name.upper())
    gibibytes = int(name.rpartition("-")[2].removesuffix("g"))
    assert 0.95 * gibibytes * 2**30 < target.memory < gibibytes * 2**30
    assert target.gpu
    assert target.speed is not None


def test_an_a100_trains_nnunets_preset_in_the_published_time() -> None:
    """1000 epochs of 250 iterations of 2 x 560e6 elements: 9 hours (nnU-Net, resenc_presets.md)."""
    speed = TARGETS["a100-40g"].speed
    assert speed is not None
    assert 250_000 * 2 * 560e6 / speed == pytest.approx(9 * 3600, rel=0.1)


def test_a_target_by_numbers() -> None:
    target = read_target("memory=24GB, bandwidth=936GB/s")
    assert target == gpu("memory=24GB, bandwidth=936GB/s", 24e9, 936e9)


@pytest.mark.parametrize("text", ["a100", "memory=24GB", "bandwidth=936GB/s", "memory=24GB,speed=3", ""])
def test_an_unknown_target_names_the_known(text: str) -> None:
    with pytest.raises(UsageError, match=r"a100-40g.*h100-80g"):
        read_target(text)


def test_gaps_are_of_all_blocks_on_a_gpu_and_of_small_ones_on_a_processor() -> None:
    step = StepMemory(weights=0, optimizer=0, batch=0, activations=0, peak=1000, small=400)
    assert Target("", 0, beside=10, gaps=0.5, gpu=True).total(step) == 10 + 1500
    assert Target("", 0, beside=10, gaps=0.5, gpu=False).total(step) == 10 + 1200
    assert gpu("", 1e10, 1e12).total(step) > GPU_BESIDE + 1000


def test_bytes_for_a_person() -> None:
    assert (bytes_text(850e6), bytes_text(7.63e9), bytes_text(42e9)) == ("850 MB", "7.63 GB", "42 GB")
