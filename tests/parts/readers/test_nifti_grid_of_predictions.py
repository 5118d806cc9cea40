"""A label map says of its grid what the image's header says, number for number: whichever transform a viewer reads."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.core.geometry import Geometry
from autoseg.parts.readers import read_header, read_image, read_labels, split_channels, write_channels, write_labels

SIZE = (6, 5, 4)
TURNED = nibabel.eulerangles.euler2mat(0.3, -0.2, 0.1) * [0.5, 0.75, 3.0]
LABELS = np.random.default_rng(0).integers(0, 4, SIZE[::-1])
AFFINE = nibabel.affines.from_matvec(TURNED, [10.1, -20.2, 30.3])
ELSEWHERE = nibabel.affines.from_matvec(np.diag([-0.5, 0.75, 3.0]), [1 / 3, 8.0, -9.0])
SHEARED = nibabel.affines.from_matvec(TURNED @ [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]], [10.1, -20.2, 30.3])
CODES = [
    ((0, 0), "mm", ".nii.gz"), ((0, 0), "unknown", ".nii"), ((0, 1), "mm", ".nii"), ((1, 0), "mm", ".nii.gz"),
    ((1, 1), "mm", ".nii.gz"), ((2, 4), "meter", ".nii"), ((4, 3), "micron", ".nii.gz"), ((0, 4), "micron", ".nii"),
]  # fmt: skip
FORMS = {"agreeing": (AFFINE, AFFINE), "disagreeing": (AFFINE, ELSEWHERE), "sheared": (SHEARED, SHEARED)}


HEADERS = [kind(endianness=order) for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header) for order in "<>"]


def saved(path: Path, shape: tuple[int, ...], codes: tuple[int, int], forms: str, header: object, units: str) -> Path:
    voxels = np.zeros(shape, np.int16)
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    image = kind(voxels, None, header)
    q, s = FORMS[forms]
    image.header.set_zooms((*nibabel.affines.voxel_sizes(s), 2.0)[: len(shape)])
    image.header.set_qform(q, codes[0], strip_shears=True)
    image.header.set_sform(s, codes[1])
    image.header.set_xyzt_units(units, "sec")
    nibabel.save(image, path)
    return path


def assert_same_grid(image: Path, other: Path) -> None:
    expected, found = nibabel.load(image), nibabel.load(other)
    np.testing.assert_array_equal(found.affine, expected.affine)
    for form in ("get_sform", "get_qform"):
        (a, code), (b, same) = (getattr(header.header, form)(coded=True) for header in (expected, found))
        assert code == same
        if a is not None:
            np.testing.assert_array_equal(a, b)
    for name in ("pixdim", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "xyzt_units"):
        np.testing.assert_array_equal(found.header[name], expected.header[name])


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("forms", FORMS)
def test_every_transform_of_the_image_is_that_of_its_label_map(tmp_path: Path, header: object, forms: str) -> None:
    for codes, units, ending in CODES:
        if forms == "sheared" and codes[0] == 0 and units in ("meter", "micron"):
            continue  # refused: ITK knows no such grid
        image = saved(tmp_path / "image.nii", SIZE, codes, forms, header, units)
        path, geometry = tmp_path / f"label{ending}", read_header(image).geometry
        write_labels(LABELS, geometry, path, like=image)
        assert_same_grid(image, path)
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj).T, LABELS)
        found, placed = read_labels(path)
        np.testing.assert_array_equal(found, LABELS)
        assert placed == geometry


def test_probabilities_have_the_grid_of_the_image(tmp_path: Path) -> None:
    image = saved(tmp_path / "image.nii.gz", (*SIZE, 2), (1, 4), "disagreeing", nibabel.Nifti1Header(), "mm")
    array = np.random.default_rng(1).integers(0, 256, (3, *LABELS.shape)).astype(np.uint8)
    geometry = read_header(image).geometry
    write_channels(array, geometry, tmp_path / "chances.nii.gz", 1 / 255, like=image)
    assert_same_grid(image, tmp_path / "chances.nii.gz")
    np.testing.assert_allclose(read_image([tmp_path / "chances.nii.gz"]).array, array / 255, rtol=1e-6)
    assert nibabel.load(tmp_path / "chances.nii.gz").shape == (*SIZE, 3)


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 4), (2, 1)])
def test_two_dimensional_images_too(tmp_path: Path, codes: tuple[int, int]) -> None:
    image = saved(tmp_path / "image.nii.gz", SIZE[:2], codes, "disagreeing", nibabel.Nifti1Header(), "mm")
    image_header = read_header(image)
    assert image_header.geometry.dimensions == 2
    write_labels(LABELS[:1], image_header.geometry, tmp_path / "label.nii.gz", like=image)
    assert_same_grid(image, tmp_path / "label.nii.gz")
    write_channels(np.stack([LABELS[:1].astype(np.float32)] * 2), image_header.geometry, tmp_path / "c.nii", like=image)
    np.testing.assert_array_equal(read_image([tmp_path / "c.nii"]).array, np.stack([LABELS[:1]] * 2))
    assert read_header(tmp_path / "c.nii").geometry == image_header.geometry


def test_channels_that_are_split_keep_the_grid(tmp_path: Path) -> None:
    image = saved(tmp_path / "image.nii.gz", (*SIZE, 2), (0, 0), "agreeing", nibabel.Nifti1Header(), "mm")
    split_channels(image, [tmp_path / "0.nii.gz", tmp_path / "1.nii.gz"])
    np.testing.assert_array_equal(nibabel.load(tmp_path / "1.nii.gz").affine, nibabel.load(image).affine)


def test_without_a_nifti_image_of_that_size_the_geometry_is_written(tmp_path: Path) -> None:
    geometry = Geometry.plain(LABELS.shape, (3.0, 0.75, 0.5))
    other = saved(tmp_path / "other.nii", (3, 3, 3), (1, 1), "agreeing", nibabel.Nifti1Header(), "mm")
    sitk.WriteImage(sitk.GetImageFromArray(LABELS.astype(np.uint8)), tmp_path / "image.nrrd")
    for like in (other, tmp_path / "image.nrrd", tmp_path / "gone.nii.gz", None):
        write_labels(LABELS, geometry, tmp_path / "label.nii.gz", like=like)
        assert sitk.ReadImage(tmp_path / "label.nii.gz").GetSpacing() == (0.5, 0.75, 3.0)
