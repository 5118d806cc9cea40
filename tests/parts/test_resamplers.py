"""Resampling equals scikit-image and scipy, and does nothing when nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from autoseg.parts.resamplers import _separable, spline

ONE = (1.0, 1.0, 1.0)
LENGTHS = st.integers(1, 40)


@given(LENGTHS, LENGTHS, st.sampled_from([0, 1, 3]))
def test_operator_is_scipys_zoom_of_unit_vectors(n: int, m: int, order: int) -> None:
    zoomed = ndimage.zoom(np.eye(max(n, 2))[:n, :n], (m / n, 1), order=order, mode="nearest", grid_mode=True)
    if order == 0:  # a sample halfway between two voxels may go either way by rounding
        halfway = np.isclose(((np.arange(m) + 0.5) * n / m) % 1, 0)
        assert (np.abs(_separable.dense(n, m, 0) - zoomed).max(axis=1) < 1e-6)[~halfway].all()
        return
    np.testing.assert_allclose(_separable.dense(n, m, order), zoomed, atol=1e-6)


@given(LENGTHS, LENGTHS, st.sampled_from([0, 1, 3]))
def test_every_row_of_an_operator_sums_to_one(n: int, m: int, order: int) -> None:
    np.testing.assert_allclose(_separable.dense(n, m, order).sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize(("n", "m"), [(700, 900), (900, 333), (257, 258)])
def test_a_long_axis_in_bands_equals_scipy(n: int, m: int, order: int) -> None:
    signal = np.random.default_rng(0).normal(size=(2, n, 1, 3)).astype(np.float32)
    ours = _separable.resize_axis(signal, 1, m, order)
    theirs = ndimage.zoom(signal, (1, m / n, 1, 1), order=order, mode="nearest", grid_mode=True)
    assert len(_separable.blocks(n, m, order)) > 1
    np.testing.assert_allclose(ours, theirs, atol=5e-6)


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(1, 14)] * 3), st.tuples(*[st.integers(1, 14)] * 3), st.sampled_from([1, 3]))
def test_image_equals_skimage(shape: tuple[int, int, int], new: tuple[int, int, int], order: int) -> None:
    image = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    ours = spline.Spec(order=order).resample_image(image, new, ONE, ONE)
    theirs = [
        resize(channel, new, order=order, mode="edge", anti_aliasing=False, clip=True, preserve_range=True)
        for channel in image.astype(np.float64)
    ]
    np.testing.assert_allclose(ours, np.stack(theirs), atol=1e-5 * np.abs(image).max())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_separate_axis_copies_slices(axis: int) -> None:
    shape, new, spacing = [9, 10, 11], [7, 13, 8], [1.0, 1.0, 1.0]
    shape[axis], new[axis], spacing[axis] = 4, 6, 5.0
    image = np.random.default_rng(2).normal(size=(1, *shape)).astype(np.float32)
    ours = spline.Spec().resample_image(image, tuple(new), spacing, ONE)
    picked = ndimage.zoom(np.arange(4.0), 6 / 4, order=0, mode="nearest", grid_mode=True).astype(int)
    for here, there in enumerate(picked):
        plane = np.take(image[0], there, axis).astype(np.float64)
        resized = resize(plane, np.delete(new, axis), order=3, mode="edge", anti_aliasing=False)
        np.testing.assert_allclose(np.take(ours[0], here, axis), resized, atol=2e-5)


@pytest.mark.parametrize(
    ("spacing", "new", "axis"),
    [
        ((1, 1, 1), (1, 1, 1), None),
        ((3, 1, 1), (1, 1, 1), None),  # three times is not more than three times
        ((3.1, 1, 1), (1, 1, 1), 0),
        ((1, 1, 1), (1, 1, 5), 2),
        ((1, 5, 1), (1, 1, 5), 1),  # the array's own spacing decides first
        ((5, 5, 1), (1, 1, 1), None),
        ((5, 5, 1), (9, 1, 1), None),
    ],
)
def test_the_separate_axis_is_the_only_coarsest_one(
    spacing: tuple[float, ...], new: tuple[float, ...], axis: int | None
) -> None:
    assert spline.Spec().separate_axis(spacing, new) == axis


def test_the_same_shape_costs_nothing() -> None:
    image, labels = np.zeros((1, 3, 4, 5), np.float32), np.zeros((3, 4, 5), np.uint8)
    assert spline.Spec().resample_image(image, (3, 4, 5), ONE, (9.0, 1.0, 1.0)) is image
    assert spline.Spec().resample_labels(labels, (3, 4, 5), ONE, (9.0, 1.0, 1.0)) is labels


@pytest.mark.parametrize("spacing", [ONE, (5.0, 1.0, 1.0)])
def test_matrices_give_the_same_as_resampling_at_once(spacing: tuple[float, float, float]) -> None:
    logits = np.random.default_rng(3).normal(size=(3, 6, 7, 8)).astype(np.float32)
    spec, new = spline.Spec(), (9, 5, 11)
    z, y, x = spec.matrices((6, 7, 8), new, 1, spec.separate_axis(spacing, ONE))
    product = np.einsum("az,by,cx,hzyx->habc", z, y, x, logits)
    np.testing.assert_allclose(spec.resample_logits(logits, new, spacing, ONE), product, atol=1e-5)


def test_labels_are_the_largest_interpolated_indicator() -> None:
    labels = np.random.default_rng(4).integers(0, 5, (7, 8, 9)).astype(np.uint8)
    ours = spline.Spec().resample_labels(labels, (11, 7, 13), ONE, ONE)
    scores = [
        resize((labels == label).astype(float), (11, 7, 13), order=1, mode="edge", anti_aliasing=False)
        for label in range(5)
    ]
    ordered = np.sort(scores, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    assert ours.dtype == np.uint8
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(ours[clear], np.argmax(scores, axis=0)[clear])


def test_a_tie_between_labels_goes_to_the_nearest_voxel() -> None:
    labels = np.array([2, 1, 1, 2]).reshape(1, 1, 4)
    assert spline.Spec().resample_labels(labels, (1, 1, 2), ONE, ONE).ravel().tolist() == [1, 2]


def test_only_labels_that_exist_come_out() -> None:
    labels = np.random.default_rng(5).choice([0, 7, 200], (5, 6, 7)).astype(np.uint8)
    assert set(np.unique(spline.Spec().resample_labels(labels, (9, 9, 9), ONE, ONE))) <= {0, 7, 200}


def test_an_impossible_order_is_refused() -> None:
    with pytest.raises(ValueError, match="order_labels must be one of"):
        spline.Spec(order_labels=2)
