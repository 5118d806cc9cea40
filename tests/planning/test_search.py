"""Plans by cost keep every limit and use what they may, for any dataset and any machine.

That real steps are counted rightly is tested in tests/training.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from autoseg.planners import measured, plain_unet
from formula import described, hours, iterations, planned
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoseg.errors import PlanningError, UsageError
from autoseg.plan import Plan
from autoseg.planning.constraints import PlanConstraints
from autoseg.planning.memory import elements_of_step
from autoseg.planning.search import OVERHEAD
from autoseg.planning.target import Target, gpu

PLANNER = measured.PLANNER
CPU = Target("a processor", int(32e9), int(0.5e9), 0.3, False, 45e6, share=0.5)
A_GPU = gpu("a GPU", 8e9, 500e9)
HIPPOCAMPUS = ((36, 50, 35), (1.0, 1.0, 1.0))
LARGE = ((120, 400, 400), (2.0, 0.8, 0.8))
SHAPES = st.tuples(st.integers(1, 300), st.integers(16, 600), st.integers(16, 600))
SPACINGS = st.tuples(st.floats(0.5, 8), st.floats(0.3, 2), st.floats(0.3, 2))
SETTINGS = settings(max_examples=20, deadline=None)


def rung(plan: Plan, name: str) -> tuple[type, int]:
    network = plan.configurations[name].network
    return type(network), network.features[0]


@pytest.mark.slow
@SETTINGS
@given(SHAPES, SPACINGS, st.floats(3e9, 80e9), st.integers(2, 500))
@example((300, 192, 391), (3.488149086896378, 1.251385676374623, 0.5), 37.78e9, 134)  # steps of 16 x 32 x 64 voxels
@example((200, 545, 141), (6.395443660079988, 1.1689842122326237, 1.295607612326998), 18288095125.0, 112)
@example((1, 377, 442), (1.02, 0.5, 0.54), 3.15e9, 12)  # 12 slices must fit in nnU-Net's preset, 5 % of all are one
def test_memory_is_never_exceeded_and_used_well_unless_the_data_are_too_small(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], memory: float, cases: int
) -> None:
    plan = planned(shape, spacing, gpu("any", memory, 1e12), PlanConstraints(), cases)
    roomy = planned(shape, spacing, gpu("roomy", 100 * memory, 1e12), PlanConstraints(), cases)
    for name, configuration in plan.configurations.items():
        cost = configuration.cost
        assert cost is not None
        assert cost.memory <= memory
        told = next(reason for reason in configuration.reasons if reason.startswith("memory:"))
        if "more memory or time would not change it" not in told:
            assert cost.memory >= 2 / 3 * memory, "else a batch of two had left room for a third patch"
        elif name in roomy.configurations and rung(roomy, name) == rung(plan, name):
            freely = roomy.configurations[name]
            assert (freely.patch_size, freely.batch_size) == (configuration.patch_size, configuration.batch_size)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(SHAPES, SPACINGS, st.floats(600, 1e6))
def test_a_training_never_takes_longer_than_it_may(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], seconds: float
) -> None:
    for target in (CPU, A_GPU):
        for configuration in planned(shape, spacing, target, PlanConstraints(seconds=seconds)).configurations.values():
            assert configuration.cost is not None
            took = 3600 * hours(configuration) * OVERHEAD
            assert took <= seconds or configuration.training.epochs == 1


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "spacing"), [HIPPOCAMPUS, LARGE])
@pytest.mark.parametrize("target", [CPU, A_GPU])
def test_more_time_is_never_spent_on_less(shape: tuple[int, ...], spacing: tuple[float, ...], target: Target) -> None:
    plans = [planned(shape, spacing, target, PlanConstraints(seconds=3600 * hour)) for hour in (0.3, 2.0, 12.0, 100.0)]
    widths = [plan.configuration()[1].network.features[0] for plan in plans]
    work = [elements_of_step(plan.task()) * iterations(plan.configuration()[1]) for plan in plans]
    assert widths == sorted(widths)
    assert all(more > 0.85 * less for less, more in pairwise(work))


def test_a_processor_learns_a_small_dataset_in_minutes() -> None:
    plan = planned(*HIPPOCAMPUS, CPU, PlanConstraints(), cases=200)
    name, found = plan.configuration()
    assert (name, found.patch_size, found.batch_size) == ("3d_fullres", (40, 56, 40), 2)
    assert found.network.features == (32, 64, 128, 256)
    assert 1000 <= iterations(found) <= 3000
    assert plan.mirror_axes == ()


def test_a_gpu_gets_nnunets_networks_and_a_full_training() -> None:
    _, found = planned(*LARGE, gpu("large", 40e9, 1.5e12), PlanConstraints(), cases=200).configuration()
    assert found.network.features[0] == 32
    assert math.prod(found.patch_size) > 128**3
    assert any("as many voxels as nnU-Net's training sees" in reason for reason in found.reasons)


def test_batches_of_a_full_training_end_at_nnunets_and_of_a_short_one_at_32_slices() -> None:
    """5 % of all voxels are 273 patches here, which take a while."""
    card = gpu("large", 80e9, 2e12)
    full, short = (
        planned(*HIPPOCAMPUS, card, constraints, cases=200).configuration("2d")[1]
        for constraints in (PlanConstraints(), PlanConstraints(seconds=3600.0))
    )
    nnunets = plain_unet.PLANNER.plan(*described(*HIPPOCAMPUS, cases=200)).configurations["2d"]
    assert full.batch_size == nnunets.batch_size > 32
    assert short.batch_size == 32
    assert any("the most this planner takes" in reason for reason in short.reasons)


def test_wishes_come_before_what_the_machine_has() -> None:
    _, found = planned(*LARGE, A_GPU, PlanConstraints(memory=int(5e9))).configuration()
    assert found.cost is not None
    assert 0.85 * 5e9 <= found.cost.memory <= found.cost.allowed == 5e9


def test_the_network_says_why_it_is_not_larger() -> None:
    short, small, all_there_is = (
        str(planned(*LARGE, target, PlanConstraints(seconds=seconds)).configuration()[1].reasons)
        for target, seconds in ((CPU, 1200.0), (replace(A_GPU, memory=int(3e9)), None), (A_GPU, None))
    )
    assert "1000 iterations, in which it would earn its size, take" in short
    assert "is for patches that this memory does not hold" in small
    assert "number 4 of 4 sizes, the largest" in all_there_is


@pytest.mark.parametrize("memory", [int(0.6e9), int(0.95e9)])
def test_too_little_memory_is_refused_with_the_numbers(memory: int) -> None:
    with pytest.raises(PlanningError, match=r"memory"):
        planned(*LARGE, A_GPU, PlanConstraints(memory=memory))


def test_a_planner_that_measures_needs_a_machine() -> None:
    with pytest.raises(UsageError, match="a machine"):
        PLANNER.plan(*described(*HIPPOCAMPUS, cases=2))
