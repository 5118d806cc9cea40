"""A budget that is a limit: laws for any voxels, image and budget."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import assume, example, given
from hypothesis import strategies as st

from autoseg.errors import PlanningError
from autoseg.planning.patch import Budget, Fit, UNetSizes, fit, uncut_patch

SIZES = UNetSizes(base_features=32, largest_features=320)
ENOUGH = 0.93


def fitted(spacing: list[float], shape: list[int], budget: Budget, voxels: float = 1e12) -> Fit:
    return fit(spacing, shape, sizes=SIZES, budget=budget, heads=3, training_voxels=voxels, largest_share=0.05)


@st.composite
def grids(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    """Spacing and shape, the coarsest axis first."""
    dimensions = draw(st.integers(2, 3))
    spacing = draw(st.lists(st.floats(0.3, 8), min_size=dimensions, max_size=dimensions))
    shape = draw(st.lists(st.integers(1, 300), min_size=dimensions, max_size=dimensions))
    return sorted(spacing, reverse=True), shape


@given(grids(), st.floats(3, 9))
@example(([7.733, 5.049], [20, 1]), 3.7484)  # two of the smallest patch fit, three do not
def test_a_limit_is_kept_and_used_no_worse_than_by_the_largest_patch(
    grid: tuple[list[float], list[int]], magnitude: float
) -> None:
    budget = Budget(elements=10**magnitude, batch=2, least_use=ENOUGH)
    try:
        largest = fitted(*grid, replace(budget, least_use=1e-9))
    except PlanningError:
        assume(False)
    found = fitted(*grid, budget)
    assert largest.elements * largest.batch <= found.elements * found.batch <= budget.elements * budget.batch
    longest = (uncut_patch(*grid, SIZES, pass_over=over).patch_size for over in (False, True))
    assert all(edge <= max(most) for edge, *most in zip(found.topology.patch_size, *longest))


def test_a_neighbour_of_the_largest_patch_is_taken_before_a_smaller_patch_with_a_larger_batch() -> None:
    largest, found = (
        fitted([1.0, 1.0, 1.0], [40, 40, 40], Budget(elements=256_000, batch=2, least_use=least))
        for least in (1e-9, ENOUGH)
    )
    assert (largest.topology.patch_size, largest.batch) == ((12, 10, 10), 2)
    assert (found.topology.patch_size, found.batch) == ((14, 10, 10), 2)


def test_of_few_data_a_patch_is_larger_than_if_many_had_to_fit() -> None:
    grid, budget = ([1.0, 1.0], [384, 448]), Budget(elements=20e6, batch=12, batch_of_patch=12, least_use=ENOUGH)
    few, many = fitted(*grid, budget, voxels=3 * 384 * 448 / 0.05), fitted(*grid, budget)
    assert math.prod(few.topology.patch_size) > math.prod(many.topology.patch_size)
    assert few.batch == few.budget.batch_of_patch == 3
    assert many.batch >= 12
