"""What a plan is made for: read from a word or from numbers, and what a training takes of it."""

from __future__ import annotations

import pytest

from autoseg.configuration import StepMemory
from autoseg.errors import UsageError
from autoseg.planning.target import GPU_CONTEXT, TARGETS, Target, gpu, read_target


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


def test_gaps_are_a_share_of_what_a_step_holds() -> None:
    step = StepMemory(weights=0, optimizer=0, batch=0, activations=0, peak=1000)
    assert Target("", 0, beside=10, gaps=0.5, gpu=False).total(step) == 10 + 1500
    assert gpu("", 1e10, 1e12).total(step) > GPU_CONTEXT + 1000


@pytest.mark.parametrize(("peak", "reserved"), [(1.076e9, 1.407e9), (1.343e9, 1.61e9)])
def test_what_an_h100_was_seen_to_take_is_planned_for_and_a_tenth_more_at_most(peak: float, reserved: float) -> None:
    """Hippocampi in 3-D and 2-D: what was counted, and what torch 2.11 reserved after real steps."""
    step = StepMemory(weights=0, optimizer=0, batch=0, activations=0, peak=int(peak))
    assert 1.0 <= gpu("", 80e9, None).total(step) / (reserved + GPU_CONTEXT) <= 1.1
