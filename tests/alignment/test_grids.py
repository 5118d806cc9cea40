"""Headers decide where a channel lies: how its array is laid does not."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from two_channels import GRID, SHAPE, laid, moved, phantom, rigid

from autoseg.alignment import grids
from autoseg.alignment.grids import (
    bytes_beside,
    covered,
    indices_of,
    places_of,
    reference_channel,
    resampled,
    smoothing,
)
from autoseg.alignment.record import Alignment, Registration
from autoseg.core.geometry import Geometry
from autoseg.parts.readers import Header

FIRST, SECOND, _ = phantom()
turns = st.tuples(*[st.floats(-0.4, 0.4)] * 3)
shifts = st.tuples(*[st.floats(-25, 25)] * 3)
orders = st.sampled_from(list(permutations(range(3))))
reversals = st.lists(st.sampled_from(range(3)), unique=True).map(tuple)


def known(matrix: np.ndarray, offset: np.ndarray, method: str = "rigid") -> Registration:
    found = tuple(matrix.ravel().tolist()), tuple(offset.tolist())
    return Registration(Alignment(0, method), *found, before=1.1, after=1.2, displacement=1.0)


@given(orders, reversals)
@settings(max_examples=25)
def test_the_order_of_an_array_whose_header_says_so_changes_nothing(order, reversed_axes) -> None:
    array, geometry = laid(SECOND, GRID, order, reversed_axes)
    found = resampled(array, geometry, GRID)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, SECOND, rtol=1e-5, atol=1e-3)


@given(turns, shifts)
@settings(max_examples=25)
def test_a_channel_whose_header_was_moved_comes_back_with_that_transform(turn, shift) -> None:
    matrix, offset = rigid(turn, shift)
    found = resampled(SECOND, moved(GRID, matrix, offset), GRID, known(matrix, offset))
    np.testing.assert_allclose(found, SECOND, rtol=1e-5, atol=1e-3)


@given(turns, shifts, orders, reversals)
@settings(max_examples=25)
def test_what_lies_beyond_the_channel_gets_its_smallest_value(turn, shift, order, reversed_axes) -> None:
    array, geometry = laid(SECOND - 50, moved(GRID, *rigid(turn, shift)), order, reversed_axes)
    found = resampled(array, geometry, GRID)
    assert np.isfinite(found).all()
    assert found.min() >= array.min()
    assert found.max() <= array.max() * (1 + 1e-6)
    far = replace(geometry, origin=tuple(np.add(geometry.origin, 1000.0)))
    assert (resampled(array, far, GRID) == array.min()).all()


def test_linear_interpolation_is_exact_where_values_are_linear() -> None:
    """An independent statement: a plane of values has, at every voxel of another grid, the value at its place."""
    slope, finer = (
        np.array([0.3, -0.2, 0.5]),
        Geometry((20, 24, 22), (1.7, 2.1, 1.9), (-30.0, -35.0, 60.0), GRID.direction),
    )
    values = [
        (places_of(grid, np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1).reshape(-1, 3)) @ slope)
        for grid in (GRID, finer)
    ]
    assert covered(finer, GRID) == 1
    found = resampled(values[0].reshape(SHAPE).astype(np.float32), GRID, finer)
    np.testing.assert_allclose(found.ravel(), values[1], atol=1e-4)


def test_places_are_those_of_itk() -> None:
    from autoseg.parts.readers.simpleitk import place

    image = sitk.Image(SHAPE[::-1], sitk.sitkUInt8)
    place(image, GRID)
    indices = np.array([[0, 0, 0], [3, 5, 7], [33, 47, 41]])
    expected = [image.TransformIndexToPhysicalPoint(tuple(map(int, index[::-1]))) for index in indices]
    np.testing.assert_allclose(places_of(GRID, indices), expected)
    np.testing.assert_allclose(indices_of(GRID, np.array(expected)), indices, atol=1e-9)


@pytest.mark.parametrize("factors", [(2, 1, 1), (1, 3, 2), (4, 2, 5), (1, 1, 1)])
def test_what_becomes_coarser_is_smoothed_as_by_scikit_image(factors: tuple[int, int, int]) -> None:
    """Inside, since its borders are other ones; cells of both grids cover the same field of view."""
    from skimage.transform import resize

    array = np.random.default_rng(0).uniform(1, 99, (40, 60, 60)).astype(np.float32)
    shape = tuple(size // factor for size, factor in zip(array.shape, factors))
    fine, spacing = (1.5, 1.0, 2.0), tuple(edge * factor for edge, factor in zip((1.5, 1.0, 2.0), factors))
    origin = tuple((new - old) / 2 for old, new in zip(fine[::-1], spacing[::-1]))
    direction = GRID.direction
    there = np.array(direction).reshape(3, 3) @ origin
    target = Geometry(shape, spacing, tuple(there.tolist()), direction)
    geometry = Geometry(array.shape, fine, (0.0, 0.0, 0.0), direction)
    expected = resize(array, shape, order=1, mode="reflect", anti_aliasing=True, preserve_range=True)
    found = resampled(array, geometry, target)
    np.testing.assert_allclose(found[1:-1, 1:-1, 1:-1], expected[1:-1, 1:-1, 1:-1], atol=0.01)
    np.testing.assert_allclose(smoothing(geometry, target), [(factor - 1) / 2 for factor in factors], atol=1e-9)


def test_a_pattern_finer_than_the_voxels_leaves_its_mean_and_what_is_zero_stays_zero() -> None:
    stripes = np.zeros((24, 24, 24), np.float32)
    stripes[4:20, 4:20, 4:20:2] = 100
    fine, coarse = Geometry.plain((24, 24, 24), (1.0,) * 3), Geometry.plain((6, 6, 6), (4.0,) * 3)
    found, direct = resampled(stripes, fine, coarse), stripes[::4, ::4, ::4]  # of each four, one that is bright
    assert (direct[1:5, 1:5, 1:5] == 100).all()
    np.testing.assert_allclose(found[2:4, 2:4, 2:4], 50, atol=3)
    assert (found[direct == 0] == 0).all()


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.0, 1.5, 2.0), (2.0005, 2.0, 2.0)])
def test_no_voxel_changes_where_no_axis_becomes_coarser(
    spacing: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    array, geometry = FIRST[:20, :20, :20], Geometry.plain((20, 20, 20), (2.0, 2.0, 2.0))
    target = Geometry.plain((18, 18, 18), spacing)
    found = resampled(array, geometry, target)
    monkeypatch.setattr(grids, "smoothing", lambda *_: np.zeros(3))
    np.testing.assert_array_equal(found, resampled(array, geometry, target))


def test_a_turned_grid_of_the_same_voxels_is_no_coarser_one() -> None:
    straight = Geometry.plain((20, 20, 20), (2.0, 2.0, 2.0))
    turned = Geometry((20, 20, 20), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), GRID.direction)
    assert not smoothing(straight, turned).any() and not smoothing(turned, straight).any()
    flipped, its = laid(FIRST, GRID, (2, 0, 1), (0, 2))
    assert flipped.shape == its.shape and not smoothing(its, GRID).any()


@pytest.mark.parametrize(("along", "share"), [(0, 1.0), (60, 0.5), (119, 0.06), (130, 0.0)])
def test_overlap_is_a_share_of_the_reference(along: float, share: float) -> None:
    plain = Geometry.plain((30, 30, 30), (4.0, 4.0, 4.0))
    beside = replace(plain, origin=(float(along), 0.0, 0.0))
    assert covered(plain, beside) == pytest.approx(share, abs=0.06)
    wider = Geometry.plain((80, 80, 80), (4.0, 4.0, 4.0))
    assert covered(plain, wider) == 1


def test_the_reference_is_the_channel_that_labels_lie_on_then_the_finest_then_the_first() -> None:
    fine, coarse = Geometry.plain((40, 40, 40), (1.0, 1.0, 1.0)), Geometry.plain((20, 20, 20), (2.0, 2.0, 2.0))
    assert reference_channel([({0: fine, 1: coarse}, coarse)] * 2, 2) == 1
    assert reference_channel([({0: coarse, 1: fine}, None)], 2) == 1
    assert reference_channel([({0: coarse, 1: fine, 2: fine}, fine)], 3) == 1
    assert (
        reference_channel([({0: fine, 1: coarse}, fine), ({1: coarse}, coarse), ({0: fine, 1: coarse}, fine)], 2) == 0
    )
    rounded = replace(fine, spacing=(1.0, 1.0, 0.9999999))
    assert reference_channel([({0: fine, 1: rounded}, None)], 2) == 0


def test_memory_is_that_of_the_largest_file_that_is_resampled() -> None:
    same, fine = Header(GRID, 1), Header(Geometry.plain((100, 200, 200), (1.0, 1.0, 1.0)), 2)
    assert bytes_beside(same, [same], Alignment(0)) == 0
    assert bytes_beside(same, [same, fine], Alignment(0)) >= 4 * 2 * 100 * 200 * 200
    assert bytes_beside(same, [same], Alignment(0, "rigid")) > 0
