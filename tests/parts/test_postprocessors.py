"""Masks are corrected as their names say: compared with scikit-image, which finds components by another algorithm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from autoseg.core.records import from_json, to_json
from autoseg.corrections import POSTPROCESSORS, Correction
from autoseg.parts.postprocessors import fill_holes, largest_component, minimum_size

SPACING = {3: (2.5, 1.0, 0.5), 2: (1.0, 0.5)}


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    dimensions = draw(st.sampled_from([2, 3]))
    shape = draw(st.tuples(*[st.integers(1, 9)] * dimensions))
    density = draw(st.sampled_from([0.0, 0.1, 0.3, 0.6, 0.9, 1.0]))
    return np.random.default_rng(draw(st.integers(0, 2**32))).random(shape) < density


def sizes(mask: np.ndarray) -> list[int]:
    components = label(mask, connectivity=mask.ndim)
    return np.bincount(components.reshape(-1))[1:].tolist()


def corrected(method: object, mask: np.ndarray) -> np.ndarray:
    before = mask.copy()
    after = method.apply(mask, SPACING[mask.ndim])
    np.testing.assert_array_equal(mask, before)  # what was given stays as it is
    np.testing.assert_array_equal(method.apply(after, SPACING[mask.ndim]), after)  # nothing is left to do
    return after


@settings(max_examples=50, deadline=None)
@given(masks())
def test_components_of_the_largest_size_stay_and_no_others(mask: np.ndarray) -> None:
    after = corrected(largest_component.Spec(), mask)
    assert not (after & ~mask).any()
    assert sizes(after) == [size for size in sizes(mask) if size == max(sizes(mask))]


@settings(max_examples=50, deadline=None)
@given(masks(), st.floats(0.1, 40))
def test_components_below_the_minimum_go_and_the_others_stay(mask: np.ndarray, size: float) -> None:
    after = corrected(minimum_size.Spec(size), mask)
    assert not (after & ~mask).any()
    voxel = math.prod(SPACING[mask.ndim])
    assert sorted(sizes(after)) == sorted(count for count in sizes(mask) if count >= size / voxel)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_voxels_in_one_line_are_those_of_the_mask(axis: int) -> None:
    mask = np.zeros((6, 7, 8), bool)
    np.moveaxis(mask, axis, 0)[[1, 2, 4], 3, 3] = True
    after = corrected(largest_component.Spec(), mask)
    assert np.argwhere(np.moveaxis(after, axis, 0)).tolist() == [[1, 3, 3], [2, 3, 3]]


def test_a_single_pixel_of_a_picture_is_a_component() -> None:
    mask = np.zeros((9, 9), bool)
    mask[1:4, 1:4] = mask[6, 6] = True
    after = corrected(minimum_size.Spec(1.0), mask)  # mm2, two pixels
    assert np.argwhere(mask & ~after).tolist() == [[6, 6]]


@settings(max_examples=50, deadline=None)
@given(masks())
def test_holes_are_filled_and_nothing_else(mask: np.ndarray) -> None:
    after = corrected(fill_holes.Spec(), mask)
    outside = label(np.pad(~mask, 1, constant_values=True), connectivity=1)
    open_background = (outside == outside.flat[0])[(slice(1, -1),) * mask.ndim]
    np.testing.assert_array_equal(after, ~open_background)


@pytest.mark.parametrize("name", POSTPROCESSORS)
def test_every_candidate_can_be_written_and_read(name: str) -> None:
    for method in POSTPROCESSORS.load(name).candidates():
        step = Correction("organ", method)
        assert from_json(Correction, to_json(step)) == step


@pytest.mark.parametrize("size", [0.0, -1.0, math.inf, math.nan])
def test_a_minimum_must_be_a_size(size: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        minimum_size.Spec(size)
