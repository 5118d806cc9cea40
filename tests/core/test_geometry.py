"""The crop to nonzero is the smallest box that loses nothing; images are turned as other libraries turn them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.spatial.transform import Rotation

from autoseg.core.geometry import SLICE_SPACING_2D, Box, Geometry, axis_along, is_orientation, nonzero_box

arrays = npst.arrays(np.int8, st.tuples(*[st.integers(1, 5)] * 4), elements=st.sampled_from([0, 0, 0, 1]))


@given(arrays)
def test_nothing_nonzero_is_lost_and_every_face_touches(array: np.ndarray) -> None:
    box = nonzero_box(array)
    inside = array[(slice(None), *box.slices)]
    assert np.count_nonzero(inside) == np.count_nonzero(array)
    if np.count_nonzero(array):
        for axis in (1, 2, 3):
            assert np.take(inside, 0, axis).any()
            assert np.take(inside, -1, axis).any()
    else:
        assert box == Box.whole(array.shape[1:])


def test_two_dimensions_are_one_slice_that_no_rule_joins() -> None:
    geometry = Geometry.plain_2d((4, 5), (0.5, 2.0))
    assert geometry.shape == (1, 4, 5)
    assert geometry.dimensions == 2
    assert geometry.spacing == (SLICE_SPACING_2D * 2.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("direction", "axis"),
    [
        ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), 2),  # axial slices
        ((0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 0),  # sagittal slices: from one to the next it is right-left
        ((0.2, -0.98, 0.0, 0.98, 0.2, 0.0, 0.0, 0.0, 1.0), 1),  # turned by almost a quarter
        ((0.0, 1.0, 1.0, 0.0), 1),
    ],
)
def test_left_right_is_the_axis_closest_to_the_patients(direction: tuple[float, ...], axis: int) -> None:
    dimensions = 2 if len(direction) == 4 else 3
    assert Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0,) * dimensions, direction).left_right == axis


@given(
    axes=st.permutations(range(3)),
    signs=st.tuples(*(st.sampled_from((1, -1)),) * 3),
    angles=st.tuples(*(st.floats(-25, 25),) * 3),
)
def test_turning_towards_ras_is_what_itk_and_nibabel_do(
    axes: list[int], signs: tuple[int, int, int], angles: tuple[float, float, float]
) -> None:
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(signs) @ np.eye(3)[axes]
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    image = sitk.GetImageFromArray(array)
    image.SetDirection(direction.ravel().tolist())
    geometry = Geometry((2, 3, 4), (1.0, 1.0, 1.0), (0.0,) * 3, tuple(direction.ravel().tolist()))
    order, reversed_axes = geometry.towards("RAS")
    turned = np.flip(array.transpose(order), reversed_axes)
    np.testing.assert_array_equal(turned, sitk.GetArrayFromImage(sitk.DICOMOrient(image, "RAS")))
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    affine = np.eye(4)
    affine[:3, :3] = np.diag((-1, -1, 1)) @ direction
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(array.T.astype(np.int16), affine))
    np.testing.assert_array_equal(turned, np.asarray(canonical.dataobj).T)


@pytest.mark.parametrize(
    "wrong",
    [
        {"spacing": (1.0, 0.0, 1.0)}, {"spacing": (-1.0, 1.0, 1.0)}, {"spacing": (1.0, 1.0, float("nan"))},
        {"spacing": (1.0, float("inf"), 1.0)}, {"origin": (0.0, float("nan"), 0.0)}, {"shape": (2, 0, 3)},
        {"direction": (float("inf"), *(0.0,) * 8)},
    ],
)  # fmt: skip
def test_what_is_no_place_for_voxels_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"spacing|origin|empty"):
        replace(Geometry.plain((2, 3, 4), (1.0, 1.0, 1.0)), **wrong)


@given(
    axes=st.permutations(range(3)),
    signs=st.tuples(*(st.sampled_from((1, -1)),) * 3),
    angles=st.tuples(*(st.floats(-25, 25),) * 3),
)
def test_orientation_is_what_itk_calls_it(
    axes: list[int], signs: tuple[int, int, int], angles: tuple[float, float, float]
) -> None:
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(signs) @ np.eye(3)[axes]
    geometry = Geometry((2, 3, 4), (1.0, 1.0, 1.0), (0.0,) * 3, tuple(direction.ravel().tolist()))
    itk = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction.ravel().tolist())
    assert geometry.orientation == itk
    for letters in (("L", "R"), ("P", "A"), ("S", "I")):
        (axis,) = {axis_along(itk, letter) for letter in letters}
        assert itk[2 - axis] in letters


def test_a_flat_image_stays_as_it_lies() -> None:
    assert Geometry.plain_2d((4, 5)).orientation is None
    assert Geometry.plain_2d((4, 5)).towards("RAS") == ((0, 1, 2), ())


@pytest.mark.parametrize(
    ("text", "fine"), [("RAS", True), ("SLP", True), ("RAA", False), ("RA", False), ("xyz", False)]
)
def test_an_orientation_names_every_axis_once(text: str, fine: bool) -> None:
    assert is_orientation(text) == fine
