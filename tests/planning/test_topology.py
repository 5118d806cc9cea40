"""Topology and memory: laws that hold for any patch."""

from __future__ import annotations

import math
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.inputs import InputSpec
from autoseg.parts.networks import plain_unet, residual_unet
from autoseg.parts.networks._topology import find_topology
from autoseg.planning.memory import feature_map_elements

DIMENSIONS = st.sampled_from([2, 3])


@st.composite
def patches(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    dimensions = draw(DIMENSIONS)
    spacing = draw(st.lists(st.floats(0.2, 8), min_size=dimensions, max_size=dimensions))
    return spacing, draw(st.lists(st.integers(1, 400), min_size=dimensions, max_size=dimensions))


@given(patches())
def test_a_patch_grows_to_the_next_multiple_of_the_divisor(case: tuple[list[float], list[int]]) -> None:
    spacing, size = case
    topology = find_topology(spacing, size, 4)
    for asked, given_, divisor in zip(size, topology.patch_size, topology.divisor):
        assert given_ % divisor == 0
        assert asked <= given_ < asked + divisor


@given(patches(), st.integers(2, 6))
def test_the_coarsest_stage_keeps_the_smallest_edge(case: tuple[list[float], list[int]], edge: int) -> None:
    spacing, size = case
    topology = find_topology(spacing, size, edge)
    for asked, voxels, divisor in zip(size, topology.patch_size, topology.divisor):
        assert voxels // divisor >= min(edge, asked)


@given(patches(), st.integers(1, 4))
def test_no_more_stages_than_allowed(case: tuple[list[float], list[int]], most: int) -> None:
    assert find_topology(*case, 4, most).stages <= most


@given(patches())
def test_a_kernel_never_shrinks_from_stage_to_stage(case: tuple[list[float], list[int]]) -> None:
    kernels = find_topology(*case, 4).kernels
    assert all(a <= b for fine, coarse in pairwise(kernels) for a, b in zip(fine, coarse))
    assert set(kernels[-1]) == {3}


def test_a_coarse_axis_is_halved_once_the_others_have_caught_up() -> None:
    topology = find_topology((5.0, 1.0, 1.0), (20, 256, 256), 4)
    assert [stride[0] for stride in topology.strides] == [1, 1, 1, 2, 2, 1, 1]
    assert [kernel[0] for kernel in topology.kernels] == [1, 1, 3, 3, 3, 3, 3]


def test_a_lone_axis_must_be_longer() -> None:
    assert find_topology((1.0, 1.0), (11, 4), 4).stages == 1
    assert find_topology((1.0, 1.0), (12, 4), 4).stages == 2


def test_a_short_finest_axis_can_be_passed_over() -> None:
    assert find_topology((1.0, 2.0, 0.5), (72, 80, 11), 4).stages == 1
    topology = find_topology((1.0, 2.0, 0.5), (72, 80, 11), 4, pass_over=True)
    assert topology.stages > 3
    assert topology.divisor[2] == 1


@pytest.mark.parametrize("stages", [2, 4])
@pytest.mark.parametrize("part", [plain_unet, residual_unet], ids=["plain", "residual"])
def test_elements_are_those_a_real_network_gives(part: ModuleType, stages: int) -> None:
    torch = pytest.importorskip("torch")
    heads, patch, counted = 3, (8, 16, 16), []
    features = tuple(4 * 2**stage for stage in range(stages))
    strides = ((1, 1, 1), *((1, 2, 2), (2, 2, 2), (2, 1, 2))[: stages - 1])
    spec = part.Spec(features, ((3, 3, 3),) * stages, strides, (2,) * stages, (1,) * (stages - 1))
    network = spec.build(InputSpec.of_image(1), heads)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            layer.register_forward_hook(lambda *call: counted.append(call[2].shape))
    network(torch.zeros(1, 1, *patch))  # as in training: prediction does without the last layer's forward
    coarse_heads = [shape for shape in counted if shape[1] == heads and tuple(shape[2:]) != patch]
    total = sum(math.prod(shape[1:]) for shape in counted) - sum(math.prod(shape[1:]) for shape in coarse_heads)
    down = [spec.convolutions(2)] * stages
    assert feature_map_elements(patch, strides, features, down=down, up=(1,) * (stages - 1), heads=heads) == total
