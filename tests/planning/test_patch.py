"""A strict budget: laws for any voxels, image and budget."""

from __future__ import annotations

import math

from hypothesis import assume, example, given
from hypothesis import strategies as st

from autoseg.errors import PlanningError
from autoseg.planning.patch import PatchFit, StepBudget, coverage, fit_patch, is_wasteful, largest_patch, uncut_patch
from autoseg.planning.sizes import UNetSizes

SIZES = UNetSizes(base_features=32, largest_features=320)


def fitted(spacing: list[float], shape: list[int], budget: StepBudget, voxels: float = 1e12) -> PatchFit:
    return fit_patch(spacing, shape, sizes=SIZES, budget=budget, heads=3, training_voxels=voxels, largest_share=0.05)


@st.composite
def grids(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    """Spacing and shape, the coarsest axis first."""
    dimensions = draw(st.integers(2, 3))
    spacing = draw(st.lists(st.floats(0.3, 8), min_size=dimensions, max_size=dimensions))
    shape = draw(st.lists(st.integers(1, 300), min_size=dimensions, max_size=dimensions))
    return sorted(spacing, reverse=True), shape


@given(grids(), st.floats(3, 9))
@example(([7.733, 5.049], [20, 1]), 3.7484)  # two of the smallest patch fit, three do not
@example(([1.0, 1.0, 1.0], [138, 169, 138]), 8.8)  # halved five times: steps of 32 voxels
def test_a_strict_budget_is_kept_and_the_patch_sees_as_much_as_nnunets_does_within_the_image(
    grid: tuple[list[float], list[int]], magnitude: float
) -> None:
    budget = StepBudget(elements=10**magnitude, batch=2, strict=True)
    try:
        nnunets = largest_patch(*grid, sizes=SIZES, budget=budget, heads=3)
    except PlanningError:
        assume(False)
    found = fitted(*grid, budget)
    patch = found.topology.patch_size
    assert found.elements * found.batch <= budget.elements * budget.batch
    if nnunets.stages > 1 and not is_wasteful(nnunets.patch_size, grid[1]):
        assert coverage(patch, grid[1]) >= coverage(nnunets.patch_size, grid[1])
    longest = (uncut_patch(*grid, SIZES, pass_over=over).patch_size for over in (False, True))
    assert all(edge <= max(most) for edge, *most in zip(patch, *longest))


def test_what_lies_beyond_the_image_is_given_up_for_what_is_unseen() -> None:
    """nnU-Net's patch for so much memory is 192 voxels long where the image has 169, and cuts the others at 128."""
    shape, budget = [138, 169, 138], StepBudget(elements=760e6, batch=2, strict=True)
    nnunets = largest_patch([1.0, 1.0, 1.0], shape, sizes=SIZES, budget=budget, heads=3)
    assert nnunets.patch_size == (128, 192, 128)
    assert fitted([1.0, 1.0, 1.0], shape, budget).topology.patch_size == (128, 160, 128)


def test_a_neighbour_that_sees_more_is_taken() -> None:
    spacing, shape, budget = [1.0, 1.0, 1.0], [188, 94, 139], StepBudget(elements=129e6, batch=2, strict=True)
    nnunets = largest_patch(spacing, shape, sizes=SIZES, budget=budget, heads=3)
    assert nnunets.patch_size == (128, 56, 80)
    assert fitted(spacing, shape, budget).topology.patch_size == (112, 64, 80)


def test_no_axis_is_cut_much_more_than_the_others() -> None:
    """A patch of 40 x 96 x 48 sees a little more, but hardly half of the image along x."""
    spacing, shape = [1.0, 1.0, 1.0], [44, 130, 91]
    assert fitted(spacing, shape, StepBudget(elements=40e6, batch=2, strict=True)).topology.patch_size == (32, 80, 64)


def test_few_slices_are_seen_whole() -> None:
    spacing, shape = [10.0, 2.67, 2.67], [10, 146, 125]
    assert fitted(spacing, shape, StepBudget(elements=25e6, batch=2, strict=True)).topology.patch_size == (10, 112, 80)


def test_of_few_data_a_patch_is_larger_than_if_many_had_to_fit() -> None:
    grid, budget = ([1.0, 1.0], [384, 448]), StepBudget(elements=20e6, batch=12, batch_of_patch=12, strict=True)
    few, many = fitted(*grid, budget, voxels=3 * 384 * 448 / 0.05), fitted(*grid, budget)
    assert math.prod(few.topology.patch_size) > math.prod(many.topology.patch_size)
    assert few.batch == few.budget.batch_of_patch == 3
    assert many.batch >= 12
