"""Networks that are asked for by name: their sizes, what is counted of them, and plans that keep every limit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from autoseg.planners import cpu, measured, plain_unet, residual_m, tiny
from formula import Formula, described
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mylab import two_encoders

from autoseg.configuration import NETWORKS
from autoseg.errors import PlanningError, UsageError
from autoseg.parts.networks import plain_unet as plain
from autoseg.parts.networks import residual_unet as residual
from autoseg.plan import Plan
from autoseg.planning.constraints import PlanConstraints
from autoseg.planning.memory import elements_of_patch, elements_per_voxel
from autoseg.planning.rungs import count_sizes, rungs_of
from autoseg.planning.sizes import UNetSizes
from autoseg.planning.target import Target, gpu

OWN = "mylab.two_encoders"
CPU = Target("a processor", int(32e9), int(0.5e9), 0.3, False, 45e6, share=0.5)
LARGE = ((120, 400, 400), (2.0, 0.8, 0.8))
PATCHES = st.sampled_from([2, 3]).flatmap(
    lambda count: st.tuples(
        st.lists(st.floats(0.3, 6), min_size=count, max_size=count),
        st.lists(st.integers(8, 300), min_size=count, max_size=count),
    )
)


def plan(name: str, target: Target, shape: tuple[int, ...] = LARGE[0], *, seconds: float | None = None) -> Plan:
    constraints = PlanConstraints(network=name, seconds=seconds)
    given_ = described(shape, LARGE[1], cases=60, channels=2)
    return measured.PLANNER.plan(*given_, constraints, Formula(target), ("mylab",))


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=30)
@given(PATCHES)
def test_a_ladder_has_as_many_sizes_for_every_patch_and_each_is_larger_or_has_more_room(
    name: str, given_: tuple[list[float], list[int]]
) -> None:
    kind = NETWORKS.load(name)
    try:
        ladder = kind.ladder(*given_)
    except ValueError as error:
        assert any(reason in str(error) for reason in ("two stages", "is for volumes", "too small"))
        return
    assert len(ladder) == count_sizes(name, kind)
    assert all(len(one.divisor) == len(given_[1]) and one.divisor == ladder[0].divisor for one in ladder)
    widths = [sum(one.features) for one in ladder]
    assert widths == sorted(widths)


@settings(max_examples=30)
@given(PATCHES)
def test_u_nets_have_the_sizes_that_the_planners_take(given_: tuple[list[float], list[int]]) -> None:
    """Those of ``measured`` by itself, and of nnU-Net's planners."""
    flat = len(given_[1]) == 2
    by_hand = [
        planner.unet_2d if flat else planner.unet_3d for planner in (cpu.PLANNER, measured.WIDER, plain_unet.PLANNER)
    ]
    topology = by_hand[0].topology(*given_)
    if topology.stages < 2:
        return
    assert plain.Spec.ladder(*given_) == tuple(sizes.network(topology) for sizes in by_hand)
    largest = residual_m.PLANNER.unet_2d if flat else residual_m.PLANNER.unet_3d
    assert residual.Spec.ladder(*given_)[-1] == largest.network(topology)


@pytest.mark.parametrize("kind", [plain.Spec, residual.Spec])
@pytest.mark.parametrize("patch", [(64, 48), (24, 48, 40)])
def test_what_is_counted_of_a_u_net_is_what_the_formula_says(kind: Any, patch: tuple[int, ...]) -> None:
    """But for the heads of the coarser scales, which nnU-Net leaves out, and shortcuts between as many feature maps."""
    plan_ = tiny.PLANNER.plan(*described(*LARGE, cases=20))
    task = plan_.task("2d" if len(patch) == 2 else "3d_fullres")
    network = kind.ladder((1.0,) * len(patch), patch)[1]
    seen = replace(task, configuration=replace(task.configuration, network=network, patch_size=patch, batch_size=1))
    counted, formula = elements_per_voxel(seen) * math.prod(patch), elements_of_patch(seen)
    steps = [math.prod(stride) for stride in network.strides]
    coarser = sum(math.prod(patch) / math.prod(steps[: level + 1]) for level in range(1, len(steps) - 1))
    assert counted == pytest.approx(formula + task.labels.heads * coarser, rel=1e-3)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.tuples(st.integers(1, 200), st.integers(16, 400), st.integers(16, 400)), st.floats(2e9, 40e9), st.booleans())
@example((1, 100, 100), 8e9, False)
@example((2, 16, 16), 8e9, False)  # fewer slices than the network's divisor
def test_a_plan_for_a_network_of_ones_own_keeps_every_limit(
    shape: tuple[int, int, int], memory: float, hurried: bool
) -> None:
    found = plan(OWN, gpu("any", memory, 1e12), shape, seconds=3600.0 if hurried else None)
    assert found.network == OWN
    assert "2d" in found.configurations and ("3d_fullres" in found.configurations) == (shape[0] > 1)
    for configuration in found.configurations.values():
        assert isinstance(configuration.network, two_encoders.Spec)
        assert configuration.network.dimensions == configuration.dimensions
        assert configuration.cost is not None and configuration.cost.memory <= memory
        told = next(reason for reason in configuration.reasons if reason.startswith("memory:"))
        if "more memory or time would not change it" not in told and not hurried:
            assert configuration.cost.memory >= 2 / 3 * memory


@pytest.mark.slow
def test_more_time_gives_a_larger_size_and_the_recipe_of_a_long_training() -> None:
    short, long = (plan(OWN, CPU, seconds=hours * 3600).configuration()[1] for hours in (0.3, 100))
    assert (short.network.features, long.network.features) == ((8, 16, 32), (16, 32, 64))
    assert type(short.optimizer) is type(cpu.PLANNER.optimizer)
    assert type(long.optimizer) is type(plain_unet.PLANNER.optimizer)
    assert any("with the next, mylab.two_encoders in size 2 of 2" in reason for reason in short.reasons)


def test_more_rungs_than_sizes_share_the_last_size_and_more_sizes_the_last_recipe() -> None:
    task = tiny.PLANNER.plan(*described(*LARGE, cases=20)).task()
    few = rungs_of(OWN, NETWORKS.load(OWN, ("mylab",)), measured.PLANNER.rungs, task)
    assert [rung.planner.unet_3d.title[-11:] for rung in few] == ["size 1 of 2"] + ["size 2 of 2"] * 3
    assert [rung.iterations for rung in few] == [rung.iterations for rung in measured.PLANNER.rungs]
    many = rungs_of("plain_unet", plain.Spec, measured.PLANNER.rungs[:1], task)
    assert [rung.planner.unet_2d.title for rung in many] == [f"plain_unet in size {n} of 3" for n in (1, 2, 3)]
    assert {rung.planner.training for rung in many} == {cpu.PLANNER.training}


def test_of_a_network_for_slices_no_volumes_are_planned() -> None:
    found = plan("mylab.slices_only", gpu("any", 8e9, 1e12))
    assert found.default == "2d" and all(one.dimensions == 2 for one in found.configurations.values())
    assert any("it is for slices only" in reason for reason in found.reasons)


def test_images_too_small_for_a_network_are_refused_with_its_own_reason() -> None:
    with pytest.raises(PlanningError, match=r"for the largest patch of the images, 70 x 60 voxels: it needs 64 pixels"):
        plan("mylab.slices_only", gpu("any", 8e9, 1e12), (60, 70, 60))


@pytest.mark.parametrize("planner", [plain_unet.PLANNER, residual_m.PLANNER, cpu.PLANNER, tiny.PLANNER])
def test_planners_with_fixed_networks_refuse_another(planner: Any) -> None:
    with pytest.raises(UsageError, match=f"planner {planner.name} plans its own networks only"):
        planner.plan(*described(*LARGE, cases=20), PlanConstraints(network="plain_unet"))


def test_without_a_name_the_rungs_are_the_planners_own() -> None:
    assert all(isinstance(rung.planner.unet_3d, UNetSizes) and not rung.by_name for rung in measured.PLANNER.rungs)
    found = measured.PLANNER.plan(*described(*LARGE, cases=20), bench=Formula(CPU))
    assert found.network is None
    assert not any("as you asked" in reason for one in found.configurations.values() for reason in one.reasons)
