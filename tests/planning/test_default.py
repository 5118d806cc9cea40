"""Which configuration is trained by default: what the steps that the time allows can see."""

from __future__ import annotations

from dataclasses import replace

import pytest
from formula import planned
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autoseg.planning.constraints import PlanConstraints
from autoseg.planning.default import ENOUGH, images_seen
from autoseg.planning.explain import explanation
from autoseg.planning.target import TARGETS, Target

HEARTS = ((10, 256, 220), (10.0, 1.52, 1.52))
HIPPOCAMPI = ((36, 50, 35), (1.0, 1.0, 1.0))
HEADS = ((183, 146, 144), (1.0, 1.0, 1.0))
FLAT = ((6, 473, 474), (9.0, 0.8, 0.8))
QUARTER = PlanConstraints(seconds=900.0)
SHAPES = st.tuples(st.integers(1, 300), st.integers(16, 600), st.integers(16, 600))
SPACINGS = st.tuples(st.floats(0.5, 8), st.floats(0.3, 2), st.floats(0.3, 2))


def assume_slices_come_first(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    """A single slice that is thinner than its pixels are long is no slice of the plan's, as in nnU-Net: the axis with
    the largest spacing comes first."""
    assume(shape[0] > 1 or spacing[0] >= max(spacing))


def processor(speed: float) -> Target:
    """Of so many feature map elements per second: 20e6 are two cores without bfloat16, 80e6 with it."""
    return Target("a processor", int(16e9), int(0.5e9), 0.5, False, speed, share=0.5)


def test_hearts_are_seen_in_whole_slices_where_the_time_leaves_3d_a_tenth_of_them() -> None:
    plan = planned(*HEARTS, processor(20e6), QUARTER, cases=40)
    full, flat = plan.configurations["3d_fullres"], plan.configurations["2d"]
    assert full.patch_size == (5, 112, 96), "that of which the figures were measured"
    assert images_seen(full) < ENOUGH <= images_seen(flat)
    assert plan.default == "2d"


@pytest.mark.parametrize(
    ("shape", "spacing", "speed", "seconds"),
    [(*HEARTS, 80e6, 900.0), (*HIPPOCAMPI, 20e6, 900.0), (*HIPPOCAMPI, 20e6, 480.0), (*HEADS, 640e6, 1200.0)],
)
def test_where_the_steps_are_enough_the_finest_is_taken_in_3d(
    shape: tuple[int, ...], spacing: tuple[float, ...], speed: float, seconds: float
) -> None:
    plan = planned(shape, spacing, processor(speed), PlanConstraints(seconds=seconds), cases=40)
    assert plan.default == "3d_fullres"


def test_in_little_time_a_coarser_grid_is_seen_and_not_a_25th_of_the_image() -> None:
    plan = planned(*FLAT, processor(10e6), QUARTER, cases=40)
    full, coarse = plan.configurations["3d_fullres"], plan.configuration()[1]
    assert plan.default == "3d_lowres"
    assert images_seen(full) < 0.05 * 1000 < ENOUGH <= images_seen(coarse)


def test_voxels_alike_in_all_directions_get_a_coarser_grid_and_no_slices() -> None:
    assert planned(*HEADS, processor(20e6), QUARTER, cases=7).default == "3d_lowres"


def test_a_wished_grid_is_kept() -> None:
    for images in (HEADS, HEARTS):
        plan = planned(*images, processor(10e6), replace(QUARTER, spacing=images[1]), cases=40)
        assert plan.default == ("2d" if images is HEARTS else "3d_fullres")


@pytest.mark.parametrize(("speed", "default"), [(20e6, "2d"), (80e6, "3d_fullres"), (8e9, "3d_fullres")])
def test_the_explanation_says_why(speed: float, default: str) -> None:
    told = " ".join(explanation(planned(*HEARTS, processor(speed), QUARTER, cases=40)).split())
    assert f"default {default}: the" in told
    assert f"{default} (taken unless you name another with -c)" in told
    if speed < 1e9:
        assert "200 are asked for. 2d is among them where slices lie more than 3 times as far apart" in told


@settings(max_examples=10, deadline=None)
@given(SHAPES, SPACINGS, st.sampled_from(sorted(TARGETS)), st.integers(2, 500))
def test_without_a_limit_of_time_nothing_but_the_images_decides(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], card: str, cases: int
) -> None:
    assume_slices_come_first(shape, spacing)
    assert planned(shape, spacing, TARGETS[card], cases=cases).default == ("2d" if shape[0] == 1 else "3d_fullres")


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(SHAPES, SPACINGS, st.floats(1e7, 1e9), st.floats(120, 1e4), st.integers(2, 500))
def test_the_default_sees_enough_or_at_least_as_much_as_3d_fullres(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], speed: float, seconds: float, cases: int
) -> None:
    assume_slices_come_first(shape, spacing)
    plan = planned(shape, spacing, processor(speed), PlanConstraints(seconds=seconds), cases)
    seen = images_seen(plan.configuration()[1])
    first = images_seen(plan.configurations.get("3d_fullres", plan.configurations[plan.default]))
    assert seen >= min(first, ENOUGH)
    assert plan.default in ("3d_fullres", "3d_lowres", "2d")
