"""Images in memory lie where the same images in files lie."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from two_channels import GRID, phantom

from autoseg.alignment.record import Alignment
from autoseg.core.channels import ChannelSource
from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels
from autoseg.errors import ModelError
from autoseg.inference.in_memory import opened
from autoseg.inference.prediction import Prediction
from autoseg.parts.readers import differences, write_channels

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


def test_none_in_a_list_is_a_channel_that_is_missing() -> None:
    image = nibabel.Nifti1Image(VOXELS, turned((0, 1, 2), (1, 1, 1)))
    simple = sitk.GetImageFromArray(VOXELS.T)
    for one, given in ((image, {}), (simple, {}), (VOXELS.T, {"spacing": (3.0, 2.0, 1.5)})):
        whole, gap = (opened(parts, **given)[0] for parts in ([one, one, one], [None, one, None]))
        assert whole.absent == () and gap.absent == (0, 2) and gap.geometry == whole.geometry
        np.testing.assert_array_equal(gap.array[1], whole.array[1])
        assert not gap.array[[0, 2]].any() and whole.array.shape == gap.array.shape == (3, *VOXELS.T.shape)


def test_the_label_map_of_an_image_with_gaps_is_an_image_of_the_same_kind() -> None:
    image = sitk.GetImageFromArray(VOXELS.T)
    image.SetSpacing((1.5, 2.0, 3.0))
    _, give_back = opened([None, image])
    labels = np.ones(VOXELS.T.shape, np.uint8)
    context = SimpleNamespace(task=SimpleNamespace(labels=ExclusiveLabels({"background": 0, "a": 1})))
    found = give_back(Prediction(context, {"label_map": labels}))  # type: ignore[arg-type]
    assert found.GetSpacing() == image.GetSpacing() and (sitk.GetArrayFromImage(found) == 1).all()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([None, None], "every channel is None"),
        ([VOXELS, VOXELS[:2]], "all alike; found"),
        ([VOXELS[None], None], "must be"),
        ([VOXELS, nibabel.Nifti1Image(VOXELS, np.eye(4))], "arrays in a list must be"),
        ([nibabel.Nifti1Image(np.stack([VOXELS] * 2, -1), np.eye(4)), None], "found 2 channels in 1 images"),
    ],
)
def test_lists_that_do_not_say_which_channel_is_missing_are_refused(parts: list, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        opened(parts, (1.0, 1.0, 1.0) if isinstance(parts[0], np.ndarray) else None)


def test_a_file_of_chosen_volumes_may_be_missing(tmp_path: Path) -> None:
    sources = (ChannelSource(0), ChannelSource(1, 0), ChannelSource(1, 2))
    geometry = Geometry.plain((4, 5, 6), (3.0, 2.0, 1.5))
    t2, dwi = tmp_path / "t2.nii.gz", tmp_path / "dwi.nii.gz"
    write_channels(VOXELS.T.reshape(1, 4, 5, 6), geometry, t2)
    write_channels(np.stack([VOXELS.reshape(4, 5, 6) + number for number in range(3)]), geometry, dwi)
    whole, _ = opened([t2, dwi], sources=sources)
    for files, absent in (([t2, None], (1, 2)), ([None, str(dwi)], (0,))):
        found, give_back = opened(files, sources=sources)
        assert found.absent == absent and give_back(None) is None  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.array, whole.without(absent).array)
    with pytest.raises(ModelError, match="found 1 files; give all, None for one that is missing"):
        opened([t2], sources=sources)
    with pytest.raises(ModelError, match="none of the files is there"):
        opened([None, None], sources=sources)


def test_an_image_that_lacks_channels_still_lacks_them_when_it_is_registered() -> None:
    first, second, _ = phantom()
    image = Image(np.stack([np.zeros_like(first), first, second]), GRID, absent=(0,))
    for method in ("header", "rigid"):
        found, _ = opened(image, alignment=Alignment(0, method))
        assert found.absent == (0,) and not found.array[0].any()
        np.testing.assert_array_equal(found.array[1], first)
