"""NIfTI headers that are odd but right are read as nibabel or ITK read them; those that are wrong are refused."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.errors import ImageFileError
from autoseg.parts.readers import read_header, read_image, read_labels

VOXELS = np.random.default_rng(0).integers(-100, 100, (6, 5, 4)).astype(np.int16)  # x, y, z, as nibabel has them
AFFINE = np.array([[0, -0.75, 0, 10.5], [0.5, 0, 0, -20.25], [0, 0, 3, 30], [0, 0, 0, 1]])
INFINITE, NAN = float("inf"), float("nan")


def saved(path: Path, array: np.ndarray = VOXELS, kind: type = nibabel.Nifti1Image, order: str = "<") -> Path:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    nibabel.save(kind(array, AFFINE, header), path)
    return path


def changed(path: Path, *changes: tuple[int, str, tuple[float, ...]]) -> Path:
    """Numbers replaced in a file that is not compressed."""
    content = bytearray(path.read_bytes())
    for start, form, values in changes:
        content[start : start + struct.calcsize(form)] = struct.pack(form, *values)
    path.write_bytes(content)
    return path


def dim(*lengths: int) -> tuple[int, str, tuple[float, ...]]:
    return (40, "<8h", (*lengths, *[1] * (8 - len(lengths))))


OFFSET, SCALE, DATATYPE, INTENT, UNITS, PIXDIM, CODES, SROW = 108, 112, 70, 68, 123, 80, 252, 280


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int8", "int64"]
)
def test_both_versions_and_byte_orders_are_read(
    tmp_path: Path, kind: type, order: str, ending: str, dtype: str
) -> None:
    array = np.abs(VOXELS).astype(dtype)
    path = saved(tmp_path / f"a{ending}", array, kind, order)
    image = read_image([path])
    np.testing.assert_array_equal(image.array[0].T, array)
    plain = saved(tmp_path / "plain.nii", array)
    assert image.geometry == read_header(plain).geometry
    assert image.geometry.origin == sitk.ReadImage(plain).GetOrigin()


@pytest.mark.parametrize("offset", [0.0, 352.5])
def test_voxels_begin_behind_the_header_where_the_offset_does_not_say(tmp_path: Path, offset: float) -> None:
    path = changed(saved(tmp_path / "a.nii"), (OFFSET, "<f", (offset,)))
    np.testing.assert_array_equal(read_image([path]).array[0].T, VOXELS)
    short = path.read_bytes()
    if offset == 0:  # without the four bytes that announce extensions
        (tmp_path / "b.nii.gz").write_bytes(gzip.compress(short[:348] + short[352:]))
        np.testing.assert_array_equal(read_image([tmp_path / "b.nii.gz"]).array[0].T, VOXELS)


@pytest.mark.parametrize("offset", [-1.0, 1.0, 340.0, NAN, INFINITE, -INFINITE, 1e9, 3e38])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_an_impossible_offset_is_refused(tmp_path: Path, offset: float, ending: str) -> None:
    path = changed(saved(tmp_path / "a.nii"), (OFFSET, "<f", (offset,)))
    if ending == ".nii.gz":
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ImageFileError, match=rf"a\{ending}"):
        read_image([tmp_path / f"a{ending}"])


@pytest.mark.parametrize(
    ("scale", "slope", "intercept"),
    [
        ((2, NAN), 2, 0),
        ((2, INFINITE), 2, 0),
        ((NAN, 5), 1, 0),
        ((0, 5), 1, 0),
        ((INFINITE, 1), 1, 0),
        ((-2, 3), -2, 3),
    ],
)
def test_half_a_scale_is_used_as_far_as_it_is_there(
    tmp_path: Path, scale: tuple[float, float], slope: float, intercept: float
) -> None:
    path = changed(saved(tmp_path / "a.nii"), (SCALE, "<ff", scale))
    np.testing.assert_array_equal(read_image([path]).array[0].T, VOXELS * slope + intercept)
    if slope == 2:
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path)).T, VOXELS * slope + intercept)


@pytest.mark.parametrize("stored", ["uint8", "int16", "uint16", "int8", "int32"])
@pytest.mark.parametrize("highest", [3, 4, 7, 20])
def test_label_maps_that_a_program_has_scaled_are_whole_again(tmp_path: Path, stored: str, highest: int) -> None:
    labels = np.random.default_rng(1).integers(0, highest + 1, (6, 5, 4))
    labels[0, 0, :2] = 0, highest
    image = nibabel.Nifti1Image(labels.astype(np.float64), AFFINE)
    image.set_data_dtype(stored)
    nibabel.save(image, tmp_path / "a.nii.gz")
    found, _ = read_labels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.T, labels)
    assert found.dtype.kind in "iu"


def test_what_scaling_by_nearly_one_leaves_is_rounding(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 9, (6, 5, 4)).astype(np.uint8)
    path = changed(saved(tmp_path / "a.nii", labels), (SCALE, "<ff", (65536 / 65535, 0)))
    assert 3.00004 < read_image([path]).array[0].T[labels == 3][0] < 3.00005
    np.testing.assert_array_equal(read_labels(path)[0].T, labels)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0), (1, 0.5), (1.01, 0), (1 / 255, 0), (0.09, 0)])
def test_labels_that_are_not_whole_stay_refused(tmp_path: Path, slope: float, intercept: float) -> None:
    labels = np.arange(120, dtype=np.uint8).reshape(6, 5, 4)
    path = changed(saved(tmp_path / "a.nii", labels), (SCALE, "<ff", (slope, intercept)))
    with pytest.raises(ImageFileError, match="whole numbers"):
        read_labels(path)


@pytest.mark.parametrize(
    ("lengths", "shape", "channels"),
    [
        ((4, 6, 5, 2, 2), (2, 5, 6), 2),
        ((4, 6, 5, 4, 0), (4, 5, 6), 1),
        ((5, 6, 5, 2, 1, 2), (2, 5, 6), 2),
        ((5, 6, 5, 2, 2, 1), (2, 5, 6), 2),
        ((5, 6, 5, 1, 1, 4), (1, 5, 6), 4),
        ((6, 6, 5, 4, 1, 1, 1), (4, 5, 6), 1),
        ((7, 6, 5, 2, 1, 1, 1, 2), (2, 5, 6), 2),
        ((2, 6, 20), (1, 20, 6), 1),
        ((3, 30, 4, 1), (1, 4, 30), 1),
    ],
)
def test_axes_are_counted_as_they_are_meant(
    tmp_path: Path, lengths: tuple[int, ...], shape: tuple[int, int, int], channels: int
) -> None:
    path = changed(saved(tmp_path / "a.nii"), dim(*lengths))
    header, image = read_header(path), read_image([path])
    assert (header.geometry.shape, header.channels) == (shape, channels)
    np.testing.assert_array_equal(image.array.ravel(), VOXELS.T.ravel()[: image.array.size])
    if lengths[0] <= 5:  # more axes than ITK has
        assert header.geometry.dimensions == min(3, sitk.ReadImage(path).GetDimension())


def test_a_vector_of_two_dimensions_is_one_as_in_itk(tmp_path: Path) -> None:
    path = changed(saved(tmp_path / "a.nii"), dim(5, 6, 5, 1, 1, 4), (INTENT, "<h", (1007,)))
    assert sitk.ReadImage(path).GetDimension() == 2
    assert read_header(path).geometry.dimensions == 2
    assert read_image([path]).array.shape == (4, 1, 5, 6)


@pytest.mark.parametrize(
    "lengths",
    [
        (0, 6, 5, 4), (1, 120), (8, 6, 5, 4), (-1, 6, 5, 4), (3, 0, 5, 4), (3, 6, 0, 4), (3, 6, 5, 0), (3, -6, 5, 4),
        (4, 6, 5, 4, -1), (5, 6, 5, 1, 2, 2), (6, 6, 5, 1, 2, 1, 2), (3, 32767, 32767, 32767),
        (7, 32767, 32767, 32767, 32767, 1, 1, 1), (2, 32767, 32767),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_impossible_axes_are_refused_from_the_header(tmp_path: Path, lengths: tuple[int, ...], ending: str) -> None:
    path = changed(saved(tmp_path / "a.nii"), dim(*lengths))
    if ending == ".nii.gz":
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ImageFileError, match=rf"a\{ending}"):
        read_header(tmp_path / f"a{ending}")


def test_nifti_2_may_announce_no_more_than_there_is(tmp_path: Path) -> None:
    for lengths in ((3, 2**31, 2**31, 2**31), (3, 2**62, 2**62, 2**62), (3, 6, 5, -(2**40))):
        path = saved(tmp_path / "a.nii", kind=nibabel.Nifti2Image)
        changed(path, (16, "<8q", (*lengths, *[1] * (8 - len(lengths)))))
        with pytest.raises(ImageFileError, match=r"a\.nii"):
            read_header(path)


@pytest.mark.parametrize(("code", "said"), [(32, "complex"), (1792, "complex"), (2048, "complex"), (1, "bits"),
                                            (1536, "128 bits"), (0, "unknown"), (255, "unknown")])  # fmt: skip
def test_numbers_that_are_none_of_ours_are_refused(tmp_path: Path, code: int, said: str) -> None:
    path = changed(saved(tmp_path / "a.nii"), (DATATYPE, "<h", (code,)))
    for reading in (read_header, read_labels, lambda path: read_image([path])):
        with pytest.raises(ImageFileError, match=rf"a\.nii.*{said}"):
            reading(path)


@pytest.mark.parametrize(("code", "colours"), [(128, 3), (2304, 4)])
def test_colours_are_channels_as_in_itk(tmp_path: Path, code: int, colours: int) -> None:
    path = changed(saved(tmp_path / "a.nii"), (DATATYPE, "<hh", (code, 8 * colours)), dim(3, 6, 5, 1))
    expected = np.moveaxis(sitk.GetArrayFromImage(sitk.ReadImage(path)), -1, 0)
    np.testing.assert_array_equal(read_image([path]).array, expected)
    assert read_header(path).channels == colours


@pytest.mark.parametrize(("unit", "factor"), [(1, 1000), (3, 0.001), (2, 1), (0, 1), (10, 1)])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_lengths_are_millimetres_whatever_the_file_says_them_in(
    tmp_path: Path, unit: int, factor: float, kind: type
) -> None:
    path = saved(tmp_path / "a.nii", kind=kind)
    changed(path, (UNITS, "B", (unit,)) if kind is nibabel.Nifti1Image else (500, "<i", (unit,)))
    geometry = read_header(path).geometry
    np.testing.assert_allclose(geometry.spacing, np.array([3.0, 0.75, 0.5]) * factor, rtol=1e-6)
    if kind is nibabel.Nifti1Image:
        np.testing.assert_allclose(geometry.origin, sitk.ReadImage(path).GetOrigin(), rtol=1e-6)


@pytest.mark.parametrize("wrong", [NAN, INFINITE, -INFINITE])
@pytest.mark.parametrize("start", [PIXDIM, PIXDIM + 8, SROW, SROW + 12, SROW + 40])
def test_a_grid_at_infinity_is_refused_from_the_header(tmp_path: Path, wrong: float, start: int) -> None:
    path = changed(saved(tmp_path / "a.nii"), (start, "<f", (wrong,)))
    with pytest.raises(ImageFileError, match=r"a\.nii.*NaN"):
        read_header(path)


@pytest.mark.parametrize(
    ("spacing", "codes"),
    [(0.0, (0, 0)), (0.0, (1, 0)), (0.0, (1, 1)), (-0.5, (0, 0)), (-0.5, (1, 0)), (-0.5, (0, 1)), (-0.5, (1, 1))],
)
def test_voxel_sizes_that_are_not_positive_are_taken_as_itk_takes_them(
    tmp_path: Path, spacing: float, codes: tuple[int, int]
) -> None:
    path = changed(saved(tmp_path / "a.nii"), (PIXDIM, "<f", (spacing,)), (CODES, "<hh", codes))
    expected = sitk.ReadImage(path)
    for geometry in (read_header(path).geometry, read_image([path]).geometry):
        assert geometry.spacing[::-1] == expected.GetSpacing()
        np.testing.assert_allclose(geometry.direction, expected.GetDirection(), atol=1e-6)
        np.testing.assert_allclose(geometry.origin, expected.GetOrigin(), atol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (0, 0, 0), (0.5, 0.75, 2.9), (500, 750, 3000), (-1, -1, -1)])
def test_a_matrix_of_other_sizes_than_those_of_the_voxels_is_refused(tmp_path: Path, sizes: tuple[float, ...]) -> None:
    """Where there is no other transform, ITK and nibabel differ by as much."""
    path = changed(saved(tmp_path / "a.nii"), (PIXDIM, "<3f", sizes), (CODES, "<hh", (0, 2)))
    of_nibabel = np.linalg.norm(nibabel.load(path).affine[:3, :3], axis=0)
    assert not np.allclose(of_nibabel, sitk.ReadImage(path).GetSpacing(), rtol=0.01)
    with pytest.raises(ImageFileError, match=r"a\.nii.*contradicts itself.*by the transform"):
        read_header(path)
    changed(path, (CODES, "<hh", (1, 2)))  # the sizes belong to the quaternion, the matrix leads to another space
    assert read_header(path).geometry.spacing[::-1] == sitk.ReadImage(path).GetSpacing()


@pytest.mark.parametrize(
    ("sizes", "unit"), [((0.5, 0.75, 3.0), 2), ((0.501, 0.75, 3.0), 2), ((500, 750, 3000), 3), ((0.5, 0.75, 3.0), 3)]
)
def test_a_matrix_of_nearly_the_same_sizes_or_in_millimetres_is_read(
    tmp_path: Path, sizes: tuple[float, ...], unit: int
) -> None:
    path = changed(saved(tmp_path / "a.nii"), (PIXDIM, "<3f", sizes), (CODES, "<hh", (0, 2)), (UNITS, "B", (unit,)))
    assert read_header(path).geometry.spacing[::-1] == sitk.ReadImage(path).GetSpacing()


@pytest.mark.parametrize("offset", [348, 349, 350, 351])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_do_not_begin_where_extensions_are_announced(tmp_path: Path, offset: int, ending: str) -> None:
    path = changed(saved(tmp_path / "a.nii"), (OFFSET, "<f", (offset,)))
    with pytest.raises(Exception, match="too low"):
        nibabel.load(path)
    content = path.read_bytes()
    without = content[:348] + content[352:]
    for each in (content, without) if offset == 348 else (content,):
        (tmp_path / f"b{ending}").write_bytes(gzip.compress(each) if ending == ".nii.gz" else each)
        if each is content:
            with pytest.raises(ImageFileError, match=f"begin at byte {offset}, which cannot be"):
                read_image([tmp_path / f"b{ending}"])
        else:  # a program that knows of no extensions
            np.testing.assert_array_equal(read_image([tmp_path / f"b{ending}"]).array[0].T, VOXELS)


@pytest.mark.parametrize("magic", [b"\0\0\0\0", b"abcd"])
def test_what_is_no_nifti_is_refused(tmp_path: Path, magic: bytes) -> None:
    path = changed(saved(tmp_path / "a.nii"), (344, "4s", (magic,)))
    with pytest.raises(ImageFileError, match="does not begin like a NIfTI"):
        read_header(path)


def test_extensions_are_skipped_whatever_they_say(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii")
    content = path.read_bytes()
    for size in (-1, 0, 7, 2**31 - 1):
        extension = struct.pack("<4Bii", 1, 0, 0, 0, size, 6) + b"x" * 20
        path.write_bytes(content[:348] + extension + content[352:])
        changed(path, (OFFSET, "<f", (348.0 + len(extension),)))
        np.testing.assert_array_equal(read_image([path]).array[0].T, VOXELS)


def test_gzip_streams_may_follow_each_other_and_have_anything_behind_them(tmp_path: Path) -> None:
    content = saved(tmp_path / "a.nii").read_bytes()
    whole = gzip.compress(content)
    parts = [gzip.compress(content[:100]), b"\0" * 7, gzip.compress(content[100:500]), gzip.compress(content[500:])]
    named = gzip.compress(content)
    named = named[:3] + b"\x08" + named[4:10] + b"n" * 10000 + b"\0" + named[10:]  # a name longer than the first piece
    for packed in (b"".join(parts), whole + b"\0" * 600, whole + b"garbage", whole + gzip.compress(b"\0" * 9), named):
        (tmp_path / "b.nii.gz").write_bytes(packed)
        np.testing.assert_array_equal(read_image([tmp_path / "b.nii.gz"]).array[0].T, VOXELS)
    for cut in (1, 4, 8, len(whole) // 2):
        (tmp_path / "b.nii.gz").write_bytes(whole[:-cut])
        with pytest.raises(ImageFileError, match=r"b\.nii\.gz"):
            read_image([tmp_path / "b.nii.gz"])


@pytest.mark.parametrize("kind", ["disagreeing", "micron"])
def test_a_truncated_file_of_unusual_grid_is_refused_too(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / "a.nii")
    changed(path, (UNITS, "B", (3,)) if kind == "micron" else (CODES, "<hh", (1, 1)))
    assert read_image([path]).array.shape == (1, 4, 5, 6)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageFileError, match="bytes"):
        read_image([path])


@pytest.mark.parametrize("ending", [".hdr", ".img", ".nhdr", ".dcm"])
def test_what_to_do_about_other_kinds_of_files_is_said(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").touch()
    with pytest.raises(ImageFileError, match=r"pair|convert dicom"):
        read_header(tmp_path / f"a{ending}")
