"""Images in memory lie where the same images in files lie."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.errors import ModelError
from autoseg.inference.in_memory import opened
from autoseg.parts.readers import differences

VOXELS = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)  # (x, y, z), as nibabel's
ORIENTATIONS = [*product(permutations(range(3)), product((-1, 1), repeat=3))]


def turned(order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """An affine (4, 4) from voxel (x, y, z) to mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[list(order)] * np.array(signs) * (1.5, 2.0, 3.0)
    affine[:3, 3] = (10, -20, 30)
    return affine


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::3])
def test_every_kind_of_image_has_the_grid_that_its_file_has(order, signs, tmp_path: Path) -> None:
    affine = turned(order, signs)
    image, path = nibabel.Nifti1Image(VOXELS, affine), tmp_path / "a.nii.gz"
    nibabel.save(image, path)
    expected, _ = opened(path)
    for source, given in ((image, {}), (VOXELS.T, {"affine": affine}), (sitk.ReadImage(str(path)), {})):
        found, _ = opened(source, **given)
        assert differences(expected.geometry, found.geometry) == []
        assert found.geometry.orientation == expected.geometry.orientation
        np.testing.assert_array_equal(found.array, expected.array)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.0, 0, 1, 1])])
def test_an_affine_that_places_voxels_nowhere_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(ModelError, match="affine"):
        opened(VOXELS.T, affine=affine)


def test_images_of_a_list_are_channels_in_this_order() -> None:
    affine = turned((0, 1, 2), (1, 1, 1))
    images = [nibabel.Nifti1Image(VOXELS * number, affine) for number in (1, 2, 3)]
    found, _ = opened(images)
    np.testing.assert_array_equal(found.array, np.stack([VOXELS.T, VOXELS.T * 2, VOXELS.T * 3]))
    with pytest.raises(ModelError, match="image 2 lies on another grid than image 0"):
        opened([*images[:2], nibabel.Nifti1Image(VOXELS, turned((0, 1, 2), (1, 1, -1)))])
    with pytest.raises(ModelError, match="cannot predict on list"):
        opened([images[0], sitk.GetImageFromArray(VOXELS)])
