"""What a training is worth: what patches see, how many voxels a training sees, and at which learning rate."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from autoseg.planners import measured, plain_unet
from formula import described, hours, iterations, planned
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoseg.configuration import Configuration
from autoseg.parts.optimizers import muon, sgd
from autoseg.pipeline.bench import of_target
from autoseg.planning.constraints import PlanConstraints
from autoseg.planning.length import rated
from autoseg.planning.patch import coverage, is_wasteful
from autoseg.planning.target import TARGETS, Target, gpu

BRATS = ((138, 169, 138), (1.0, 1.0, 1.0))
PROSTATE = ((20, 320, 320), (3.6, 0.62, 0.62))
CUBES = ((32, 32, 32), (1.0, 1.0, 1.0))
SMALL_CARD = gpu("8 GB", 8e9, 448e9)
A100 = TARGETS["a100-80g"]
SHAPES = st.tuples(st.integers(1, 300), st.integers(16, 600), st.integers(16, 600))
SPACINGS = st.tuples(st.floats(0.5, 8), st.floats(0.3, 2), st.floats(0.3, 2))
LONGER = 1.1  # another patch has other stages: up to so many times more feature maps for a voxel


def passes(configuration: Configuration, cases: int) -> float:
    """How often the training voxels are seen, in patches."""
    seen = iterations(configuration) * configuration.batch_size * math.prod(configuration.patch_size)
    return seen / (cases * math.prod(configuration.median_shape))


def slow(elements_per_second: float) -> Target:
    """A processor."""
    return Target("slow", int(16e9), int(0.5e9), 0.5, False, elements_per_second, share=0.5)


@pytest.mark.slow
def test_two_whole_images_are_seen_rather_than_six_pieces() -> None:
    """BraTS on 24 GB, counted as on a real machine: 6 of 128 x 192 x 96 fill the memory, 2 whole images 69 % of it."""
    bench = of_target(TARGETS["rtx3090-24g"])
    found = measured.PLANNER.plan(*described(*BRATS, cases=484, channels=4), bench=bench).configurations["3d_fullres"]
    assert (found.patch_size, found.batch_size) == ((160, 192, 160), 2)


def test_a_large_card_trains_no_longer_than_a_small_one_and_sees_as_much() -> None:
    small, large = (planned(*BRATS, card, cases=484).configuration()[1] for card in (SMALL_CARD, A100))
    assert hours(large) < hours(small)
    assert passes(large, 484) == pytest.approx(passes(small, 484), rel=0.02)
    assert iterations(large) < iterations(small) == 250_000


@pytest.mark.parametrize(("shape", "spacing", "cases"), [(*PROSTATE, 32), (*CUBES, 50), (*BRATS, 484)])
@pytest.mark.parametrize("card", [SMALL_CARD, A100], ids=lambda card: card.name)
def test_the_voxels_are_seen_as_often_as_by_nnunet(
    shape: tuple[int, ...], spacing: tuple[float, ...], cases: int, card: Target
) -> None:
    nnunets = plain_unet.PLANNER.plan(*described(shape, spacing, cases)).configurations
    for name, configuration in planned(shape, spacing, card, cases=cases).configurations.items():
        assert passes(configuration, cases) >= passes(nnunets[name], cases)


def test_many_small_images_make_a_batch_and_not_two() -> None:
    assert planned(*CUBES, A100, cases=50).configuration()[1].batch_size == 16
    assert planned(*CUBES, A100, cases=5).configuration()[1].batch_size == 5


@pytest.mark.parametrize("seconds", range(480, 1200, 60))
def test_a_small_image_is_not_cut_by_a_few_voxels(seconds: float) -> None:
    """Where 28 of 32 slices fit into the time, every image would be predicted in two pieces that overlap."""
    found = planned(*CUBES, slow(10.5e6), PlanConstraints(seconds=float(seconds)), cases=50).configuration()[1]
    share = coverage(found.patch_size, found.median_shape)
    assert share == 1.0 or share < 0.75


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(SHAPES, SPACINGS, st.floats(3e9, 80e9), st.integers(2, 500), st.booleans())
@example((138, 169, 138), (1.0, 1.0, 1.0), 16e9, 484, False)
def test_no_axis_goes_beyond_the_image_while_another_is_cut(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], memory: float, cases: int, hurried: bool
) -> None:
    constraints = PlanConstraints(seconds=7200.0) if hurried else PlanConstraints()
    for configuration in planned(shape, spacing, gpu("any", memory, 1e12), constraints, cases).configurations.values():
        whole = configuration.median_shape[-configuration.dimensions :]
        assert not is_wasteful(configuration.patch_size, whole)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(SHAPES, SPACINGS, st.floats(3e9, 40e9), st.integers(2, 500), st.floats(1, 10), st.floats(1, 10))
def test_a_better_card_never_trains_longer_for_as_much(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    memory: float,
    cases: int,
    larger: float,
    quicker: float,
) -> None:
    """The same network on the same grid: a training that sees as many voxels."""
    cards = gpu("a card", memory, 3e11), gpu("a better one", larger * memory, quicker * 3e11)
    before, after = (planned(shape, spacing, card, cases=cases).configurations for card in cards)
    for name in before.keys() & after.keys():
        worse, better = before[name], after[name]
        alike = (replace(worse.network, **_shape(better)), worse.spacing) == (better.network, better.spacing)
        if alike:
            assert hours(better) <= LONGER * hours(worse)
            assert passes(better, cases) == pytest.approx(passes(worse, cases), rel=0.1)


def _shape(configuration: Configuration) -> dict[str, object]:
    """What of a network follows from the patch."""
    fields = ("features", "kernels", "strides", "blocks_encoder", "blocks_decoder")
    return {field: getattr(configuration.network, field) for field in fields}


@pytest.mark.parametrize("optimizer", [sgd.Spec(learning_rate=0.01), muon.Spec(learning_rate=0.01)])
def test_a_batch_four_times_as_large_takes_steps_twice_as_large(optimizer: sgd.Spec | muon.Spec) -> None:
    scaled, why = rated(optimizer, 8, 2)
    assert scaled == replace(optimizer, learning_rate=0.02)
    assert why == (
        "learning rate: 0.02, the recipe's 0.01 times the square root of 8/2, as the batch is larger than nnU-Net's"
    )


def test_a_batch_as_small_as_nnunets_or_smaller_keeps_the_rate() -> None:
    for batch in (1, 2):
        assert rated(sgd.Spec(learning_rate=0.01), batch, 2) == (sgd.Spec(learning_rate=0.01), None)


def test_the_plan_scales_the_rate_and_says_why() -> None:
    found = planned(*CUBES, A100, cases=50).configuration()[1]
    assert found.optimizer.learning_rate == pytest.approx(0.01 * math.sqrt(16 / 2), rel=1e-2)
    assert any(reason.startswith("learning rate: 0.0283") for reason in found.reasons)
