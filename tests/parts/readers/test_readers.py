"""Every format gives back what was written, and refuses what it cannot read."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from autoseg.core.geometry import Geometry
from autoseg.errors import DatasetError, ImageFileError
from autoseg.parts.readers import (
    ending_of,
    read_header,
    read_image,
    read_labels,
    write_channels,
    write_labels,
)

VOLUME = Geometry((4, 5, 6), (3.0, 0.75, 0.5), (10.5, -20.25, 30.0), (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
PICTURE = Geometry.plain_2d((5, 6))
MEDICAL = (".nii.gz", ".nii", ".nrrd", ".mha")
generator = np.random.default_rng(0)


def itk_image(array: np.ndarray, geometry: Geometry = VOLUME) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


def assert_same(found: Geometry, expected: Geometry) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.spacing, expected.spacing, rtol=1e-6)
    np.testing.assert_allclose(found.origin, expected.origin, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.direction, expected.direction, atol=1e-6)


@pytest.mark.parametrize("ending", MEDICAL)
def test_labels_come_back_with_their_geometry(tmp_path: Path, ending: str) -> None:
    labels = generator.integers(0, 4, VOLUME.shape)
    write_labels(labels, VOLUME, tmp_path / f"a{ending}")
    found, geometry = read_labels(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(found, labels)
    assert_same(geometry, VOLUME)
    assert read_header(tmp_path / f"a{ending}").geometry == geometry


def test_gipl_labels_come_back(tmp_path: Path) -> None:
    labels = generator.integers(0, 4, VOLUME.shape)
    write_labels(labels, Geometry.plain(VOLUME.shape, VOLUME.spacing), tmp_path / "a.gipl")
    found, geometry = read_labels(tmp_path / "a.gipl")
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_allclose(geometry.spacing, VOLUME.spacing)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff", ".nii.gz", ".nrrd", ".mha"])
def test_two_dimensional_labels_come_back_as_one_slice(tmp_path: Path, ending: str) -> None:
    labels = generator.integers(0, 200, (1, 5, 6))
    write_labels(labels, PICTURE, tmp_path / f"a{ending}")
    found, geometry = read_labels(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(found, labels)
    assert geometry == PICTURE


@pytest.mark.parametrize(
    ("values", "dtype"), [((0, 255), np.uint8), ((205, 420), np.uint16), ((0, 70000), np.uint32), ((-1, 3), np.int8)]
)
def test_labels_are_written_in_the_smallest_type(tmp_path: Path, values: tuple[int, int], dtype: type) -> None:
    labels = np.full(VOLUME.shape, values[0])
    labels[0, 0, 0] = values[1]
    write_labels(labels, VOLUME, tmp_path / "a.nii.gz")
    found, _ = read_labels(tmp_path / "a.nii.gz")
    assert found.dtype == dtype
    assert tuple(np.unique(found)) == values


def test_a_predicted_map_has_the_geometry_of_the_image_it_belongs_to_in_itk(tmp_path: Path) -> None:
    turned = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix()
    image = itk_image(generator.normal(size=VOLUME.shape).astype(np.float32))
    image.SetDirection(turned)
    sitk.WriteImage(image, tmp_path / "image.nii.gz")
    geometry = read_header(tmp_path / "image.nii.gz").geometry
    write_labels(np.zeros(VOLUME.shape, np.uint8), geometry, tmp_path / "label.nii.gz")
    image, label = sitk.ReadImage(tmp_path / "image.nii.gz"), sitk.ReadImage(tmp_path / "label.nii.gz")
    np.testing.assert_allclose(label.GetDirection(), image.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(label.GetOrigin(), image.GetOrigin(), atol=1e-5)
    assert label.GetSpacing() == image.GetSpacing()


@pytest.mark.parametrize("ending", MEDICAL)
@pytest.mark.parametrize("geometry", [VOLUME, PICTURE], ids=["3d", "2d"])
def test_channels_come_back_as_channels(tmp_path: Path, ending: str, geometry: Geometry) -> None:
    array = generator.normal(size=(3, *geometry.shape)).astype(np.float32)
    path = tmp_path / f"a{ending}"
    write_channels(array, geometry, path)
    image = read_image([path])
    np.testing.assert_array_equal(image.array, array)
    assert image.geometry.shape == geometry.shape
    assert read_header(path).channels == 3


def test_vector_pixels_are_channels(tmp_path: Path) -> None:
    array = generator.normal(size=(*VOLUME.shape, 2)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_image([tmp_path / "a.nii.gz"]).array, np.moveaxis(array, -1, 0))


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64"]
)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("components", [1, 3])
def test_meta_images_are_read_as_itk_reads_them(tmp_path: Path, dtype: str, packed: bool, components: int) -> None:
    shape = VOLUME.shape if components == 1 else (*VOLUME.shape, components)
    array = (generator.normal(size=shape) * 50 + 100).astype(dtype)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=components > 1), tmp_path / "a.mha", useCompression=packed)
    expected = array[None] if components == 1 else np.moveaxis(array, -1, 0)
    np.testing.assert_array_equal(read_image([tmp_path / "a.mha"]).array, expected.astype(np.float32))
    if packed and array.dtype.kind == "i" and components == 1:
        head, _, body = (tmp_path / "a.mha").read_bytes().partition(b"LOCAL\n")
        swapped = zlib.compress(array.astype(array.dtype.newbyteorder(">")).tobytes())
        head = head.replace(b"OrderMSB = False", b"OrderMSB = True").replace(b"%d" % len(body), b"%d" % len(swapped))
        (tmp_path / "b.mha").write_bytes(head + b"LOCAL\n" + swapped)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "b.mha")), array)
        np.testing.assert_array_equal(read_labels(tmp_path / "b.mha")[0], array)


def test_files_of_a_case_are_joined_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"a_000{index}.nii.gz" for index in range(2)]
    for index, path in enumerate(paths):
        sitk.WriteImage(itk_image(np.full(VOLUME.shape, index, np.int16)), path)
    image = read_image(paths)
    assert image.array.dtype == np.float32
    assert image.array[:, 0, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("change", ["shape", "spacing", "origin", "direction"])
def test_files_on_different_grids_are_refused_by_name(tmp_path: Path, change: str) -> None:
    sitk.WriteImage(itk_image(np.zeros(VOLUME.shape, np.int16)), tmp_path / "a.nii.gz")
    other = itk_image(np.zeros((4, 5, 7) if change == "shape" else VOLUME.shape, np.int16))
    if change == "spacing":
        other.SetSpacing((0.5, 0.75, 3.3))
    if change == "origin":
        other.SetOrigin((11.5, -20.25, 30.0))
    if change == "direction":
        other.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(other, tmp_path / "b.nii.gz")
    with pytest.raises(DatasetError, match=rf"b\.nii\.gz.*{change}"):
        read_image([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"])


@settings(max_examples=60, deadline=None)
@example(
    angles=(0.0, 1.0, 0.0), spacing=(1.0, 1.0, 1.0), origin=(0.0,) * 3, mirrored=False, form="qform", dtype="uint8"
)
@example(
    angles=(0.0, 0.0, 6.6e-5), spacing=(1.0, 1.0, 1.0), origin=(0.0,) * 3, mirrored=False, form="both", dtype="uint8"
)
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 9.0)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    mirrored=st.booleans(),
    form=st.sampled_from(["both", "qform", "sform", "none"]),
    dtype=st.sampled_from(["uint8", "int16", "float32", "float64", "uint16"]),
)
def test_nifti_is_read_as_itk_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    mirrored: bool,
    form: str,
    dtype: str,
) -> None:
    path = tmp_path_factory.mktemp("nifti") / "a.nii"
    array = (generator.normal(size=VOLUME.shape) * 50 + 100).astype(dtype)
    image = sitk.GetImageFromArray(array)
    direction = np.array(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix()).reshape(3, 3)
    image.SetDirection((direction * [1, 1, -1 if mirrored else 1]).ravel().tolist())
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, path)
    content = bytearray(path.read_bytes())
    if form in ("sform", "none"):
        content[252:254] = struct.pack("<h", 0)
    if form in ("qform", "none"):
        content[254:256] = struct.pack("<h", 0)
    path.write_bytes(content)

    expected = sitk.ReadImage(path)
    found = read_image([path])
    np.testing.assert_array_equal(found.array[0], array.astype(np.float32))
    assert found.geometry.spacing[::-1] == expected.GetSpacing()
    np.testing.assert_allclose(found.geometry.origin, expected.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(found.geometry.direction, expected.GetDirection(), atol=1e-5)


def test_scaled_and_big_endian_nifti_is_read_as_itk_reads_it(tmp_path: Path) -> None:
    array = generator.integers(-100, 100, VOLUME.shape).astype(np.int16)
    sitk.WriteImage(itk_image(array), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = struct.pack("<ff", 0.5, -3.0)
    (tmp_path / "scaled.nii").write_bytes(content)
    np.testing.assert_allclose(read_image([tmp_path / "scaled.nii"]).array[0], array * 0.5 - 3)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "scaled.nii"))
    np.testing.assert_allclose(read_image([tmp_path / "scaled.nii"]).array[0], expected)

    content = bytearray((tmp_path / "a.nii").read_bytes())
    fields = [(0, "i", 1), (40, "h", 8), (70, "h", 2), (76, "f", 8), (108, "f", 3), (252, "h", 2), (256, "f", 18)]
    for start, code, count in fields:
        stop = start + count * struct.calcsize(code)
        content[start:stop] = struct.pack(f">{count}{code}", *struct.unpack(f"<{count}{code}", content[start:stop]))
    content[352:] = array.astype(">i2").tobytes()
    (tmp_path / "big.nii").write_bytes(content)
    np.testing.assert_array_equal(read_image([tmp_path / "big.nii"]).array[0], array)
    assert_same(read_header(tmp_path / "big.nii").geometry, VOLUME)


def test_sheared_axes_are_replaced_by_the_nearest_rotation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sitk.WriteImage(
        itk_image(np.zeros(VOLUME.shape, np.int16), Geometry.plain(VOLUME.shape, (1, 1, 1))), tmp_path / "a.nii"
    )
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[252:256] = struct.pack("<hh", 0, 1)
    shear = np.array([[1, 0.1, 0], [0, 1, 0], [0, 0, 1.0]])
    shear /= np.linalg.norm(shear, axis=0)
    content[280:328] = np.hstack([shear, np.zeros((3, 1))]).astype("<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(tmp_path / "a.nii")
    direction = np.array(read_header(tmp_path / "a.nii").geometry.direction).reshape(3, 3)
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-6)
    assert np.abs(direction - shear * [[-1], [-1], [1]]).max() < 0.06
    assert "sheared" in caplog.text


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".jpg", ".tif"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{ending}"
    if ending in (".png", ".bmp", ".jpg"):
        Pillow.fromarray(generator.integers(0, 255, (64, 64)).astype(np.uint8)).save(path)
    elif ending == ".tif":
        write_labels(generator.integers(0, 255, (4, 64, 64)), Geometry.plain((4, 64, 64), (1, 1, 1)), path)
    else:
        array = generator.normal(size=(20, 30, 31)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(array), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ImageFileError, match=rf"a\{ending}"):
        read_image([path])
    capfd.readouterr()  # what ITK says about it


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".png", ".tif", ".mha"])
def test_an_empty_or_missing_file_is_refused_by_name(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ImageFileError, match=f"missing{ending}"):
        read_header(tmp_path / f"missing{ending}")
    (tmp_path / f"empty{ending}").touch()
    with pytest.raises(ImageFileError, match=f"empty{ending}"):
        read_image([tmp_path / f"empty{ending}"])


def test_damaged_compression_is_noticed(tmp_path: Path) -> None:
    sitk.WriteImage(itk_image(generator.normal(size=VOLUME.shape).astype(np.float32)), tmp_path / "a.nii")
    content = bytearray(gzip.compress((tmp_path / "a.nii").read_bytes()))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "b.nii.gz").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"b\.nii\.gz"):
        read_image([tmp_path / "b.nii.gz"])


def test_float_labels_must_be_whole(tmp_path: Path) -> None:
    labels = generator.integers(0, 4, VOLUME.shape)
    sitk.WriteImage(itk_image(labels.astype(np.float64)), tmp_path / "a.nii.gz")
    found, _ = read_labels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found, labels)
    assert found.dtype.kind == "i"
    fraction, large = "whole numbers, but this one holds ", "holds the value {}, too large for a label"
    for wrong, said in {
        0.5: f"{fraction}0.5", np.nan: f"{fraction}nan", np.inf: f"{fraction}inf",
        2.0**40: large.format(1099511627776), -(2.0**31) - 1: large.format(-2147483649), 1e300: large.format("1.0.*"),
    }.items():  # fmt: skip
        bad = labels.astype(np.float64)
        bad[1, 2, 3] = wrong
        sitk.WriteImage(itk_image(bad), tmp_path / "b.nii.gz")
        with pytest.raises(ImageFileError, match=said):
            read_labels(tmp_path / "b.nii.gz")


def test_colour_pictures_give_three_channels_without_alpha(tmp_path: Path) -> None:
    pixels = generator.integers(0, 255, (5, 6, 4)).astype(np.uint8)
    Pillow.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    image = read_image([tmp_path / "a.png"])
    np.testing.assert_array_equal(image.array[:, 0], np.moveaxis(pixels[..., :3], -1, 0))
    assert image.geometry == PICTURE
    assert read_header(tmp_path / "a.png").channels == 3


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_kept(tmp_path: Path, ending: str, channels: int) -> None:
    pixels = generator.integers(0, 65535, (5, 6, channels)).astype(np.uint16)
    image = sitk.GetImageFromArray(pixels[..., 0]) if channels == 1 else sitk.GetImageFromArray(pixels, isVector=True)
    sitk.WriteImage(image, tmp_path / f"a{ending}")
    found = read_image([tmp_path / f"a{ending}"]).array
    np.testing.assert_array_equal(found[:, 0], np.moveaxis(pixels, -1, 0))


def test_colour_masks_count_as_labels_only_when_grey(tmp_path: Path) -> None:
    mask = generator.integers(0, 2, (5, 6)).astype(np.uint8) * 255
    Pillow.fromarray(np.stack([mask] * 3, -1)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "grey.png")[0][0], mask)
    Pillow.fromarray(np.stack([mask, mask, 0 * mask], -1)).save(tmp_path / "colour.png")
    with pytest.raises(ImageFileError, match="3 channels"):
        read_labels(tmp_path / "colour.png")


def test_a_coloured_palette_stands_for_its_indices(tmp_path: Path) -> None:
    indices = generator.integers(0, 3, (5, 6)).astype(np.uint8)
    image = Pillow.fromarray(indices, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png")[0][0], indices)
    assert read_image([tmp_path / "a.png"]).array.shape == (3, 1, 5, 6)


def test_jpeg_label_maps_are_refused(tmp_path: Path) -> None:
    Pillow.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(ImageFileError, match="PNG"):
        read_labels(tmp_path / "a.jpg")


def test_tiff_stacks_take_their_spacing_from_the_file_beside_them(tmp_path: Path) -> None:
    labels = generator.integers(0, 4, VOLUME.shape)
    write_labels(labels, VOLUME, tmp_path / "a.tif")
    found, geometry = read_labels(tmp_path / "a.tif")
    np.testing.assert_array_equal(found, labels)
    assert geometry.spacing == VOLUME.spacing
    (tmp_path / "a.tif").rename(tmp_path / "a_0000.tif")
    assert read_header(tmp_path / "a_0000.tif").geometry.spacing == VOLUME.spacing
    (tmp_path / "a.json").write_text('{"spacing": [1, 2]}')
    with pytest.raises(ImageFileError, match=r"a\.json"):
        read_header(tmp_path / "a_0000.tif")


def test_a_compression_unknown_to_tifffile_is_read_all_the_same(tmp_path: Path) -> None:
    stack = generator.integers(0, 255, VOLUME.shape).astype(np.uint8)
    pages = [Pillow.fromarray(page) for page in stack]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    np.testing.assert_array_equal(read_image([tmp_path / "a.tif"]).array[0], stack)


def test_endings_count_nii_gz_as_one() -> None:
    assert ending_of(Path("x/case.v2.nii.gz")) == ".nii.gz"
    assert ending_of("case.PNG") == ".PNG"
    with pytest.raises(ImageFileError, match="known endings"):
        ending_of("case.txt")


def test_formats_that_cannot_hold_the_result_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=r"\.mha"):
        write_labels(np.zeros(VOLUME.shape, np.uint8), VOLUME, tmp_path / "a.mhd")
    with pytest.raises(ImageFileError, match="one slice"):
        write_labels(np.zeros(VOLUME.shape, np.uint8), VOLUME, tmp_path / "a.png")
    with pytest.raises(ImageFileError, match=r"\.nii\.gz"):
        write_channels(np.zeros((2, 1, 5, 6), np.float32), PICTURE, tmp_path / "a.png")
