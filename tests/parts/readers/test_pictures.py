"""Pixels of PNG, JPEG, BMP and TIFF are measurements: read as stored, or refused, and never converted."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as Pillow
from PIL import ImageOps

from autoseg.core.geometry import Geometry
from autoseg.errors import ImageFileError
from autoseg.parts.readers import read_header, read_image, read_labels, write_labels

generator = np.random.default_rng(0)
GREY = generator.integers(0, 256, (9, 11)).astype(np.uint8)
COLOUR = generator.integers(0, 256, (9, 11, 3)).astype(np.uint8)
STACK = generator.integers(0, 256, (6, 9, 11)).astype(np.uint8)
ORIENTATION = 274


def turned(orientation: int) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    return exif


def tiff(path: Path, array: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def assert_agrees(path: Path, expected: np.ndarray, channels: int = 1) -> None:
    """``expected`` is (channels, z, y, x)."""
    header, image = read_header(path), read_image([path])
    np.testing.assert_array_equal(image.array, expected)
    assert (header.channels, header.geometry) == (channels, image.geometry)
    assert header.geometry.shape == expected.shape[1:]


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_pictures_are_turned_as_viewers_turn_them(tmp_path: Path, orientation: int, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".tif":
        tiff(path, COLOUR, photometric="rgb", extratags=[(ORIENTATION, "H", 1, orientation, True)])
        Pillow.fromarray(COLOUR).save(tmp_path / "same.png", exif=turned(orientation))
        seen = ImageOps.exif_transpose(Pillow.open(tmp_path / "same.png"))
    else:
        Pillow.fromarray(COLOUR).save(path, exif=turned(orientation))
        seen = ImageOps.exif_transpose(Pillow.open(path))
    assert_agrees(path, np.moveaxis(np.asarray(seen), -1, 0)[:, None], 3)
    if ending == ".png":
        Pillow.fromarray(GREY).save(path, exif=turned(orientation))  # a mask is turned like its image
        assert min(read_labels(path)[0].strides) >= 0, "torch knows no others"
        np.testing.assert_array_equal(read_labels(path)[0][0], ImageOps.exif_transpose(Pillow.open(path)))


def test_a_stack_that_is_stored_turned_is_refused(tmp_path: Path) -> None:
    options = {"photometric": "minisblack", "extratags": [(ORIENTATION, "H", 1, 6, True)]}
    with pytest.raises(ImageFileError, match="upright"):
        read_header(tiff(tmp_path / "a.tif", STACK, **options))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("array", [GREY, STACK], ids=["2d", "3d"])
def test_masks_with_white_as_zero_are_not_inverted(
    tmp_path: Path, array: np.ndarray, bits: int, compression: str | None
) -> None:
    mask = (array > 128).astype(f"uint{bits}")
    path = tiff(tmp_path / "a.tif", mask, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(read_labels(path)[0].squeeze(), mask)


@pytest.mark.parametrize("compression", ["raw", "packbits", "group3", "group4", "tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("white", [False, True])
def test_masks_of_single_bits_are_not_inverted(tmp_path: Path, compression: str, white: bool) -> None:
    mask = GREY > 128
    options = {"tiffinfo": {262: 0}} if white else {}
    Pillow.fromarray(mask).save(tmp_path / "a.tif", compression=compression, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        stored_inverted = file.pages[0].photometric == 0
    found = read_labels(tmp_path / "a.tif")[0][0]
    np.testing.assert_array_equal(found, ~mask if stored_inverted else mask)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64", "int64", "uint64"]
)
@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"tile": (16, 16)},
                                     {"compression": "zlib", "predictor": True}, {"rowsperstrip": 2}])  # fmt: skip
@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_type_of_number_is_kept(tmp_path: Path, dtype: str, options: dict, dimensions: int) -> None:
    shape = (9, 11) if dimensions == 2 else (5, 9, 11)
    array = generator.integers(-100, 100, shape).astype(dtype)
    array.flat[0] = 3_000_000_000 if dtype == "uint32" else array.flat[0]
    if dtype.startswith("float") or dtype.endswith("64"):  # tifffile does not write all
        options = {key: value for key, value in options.items() if key != "predictor"}
    path = tiff(tmp_path / "a.tif", array, photometric="minisblack", **options)
    expected = array.astype(np.float32)
    assert_agrees(path, expected[None, None] if dimensions == 2 else expected[None])
    if not dtype.startswith("float"):
        found = read_labels(path)[0]
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.squeeze(), array)


@pytest.mark.parametrize(
    ("axes", "shape", "options", "expected"),
    [
        ("ZYX", (6, 9, 11), {"imagej": True}, "zyx"),
        ("CYX", (3, 9, 11), {"imagej": True}, "c1yx"),
        ("ZCYX", (6, 2, 9, 11), {"imagej": True}, "zcyx"),
        ("TYX", (6, 9, 11), {"imagej": True}, None),
        ("TZYX", (2, 6, 9, 11), {"imagej": True}, None),
        ("TCYX", (2, 3, 9, 11), {"imagej": True}, None),
        ("ZYX", (6, 9, 11), {"ome": True}, "zyx"),
        ("CYX", (3, 9, 11), {"ome": True}, "c1yx"),
        ("CZYX", (2, 6, 9, 11), {"ome": True}, "czyx"),
        ("TYX", (6, 9, 11), {"ome": True}, None),
        ("TCZYX", (1, 1, 6, 9, 11), {"ome": True}, "zyx"),
    ],
)
def test_axes_mean_what_the_file_says(
    tmp_path: Path, axes: str, shape: tuple[int, ...], options: dict, expected: str | None
) -> None:
    array = generator.integers(0, 4, shape).astype(np.uint8)
    path = tiff(tmp_path / "a.tif", array, photometric="minisblack", metadata={"axes": axes}, **options)
    if expected is None:
        with pytest.raises(ImageFileError, match="point in time"):
            read_header(path)
        return
    array = array.reshape([length for length in shape if length > 1])
    array = np.swapaxes(array, 0, 1) if expected == "zcyx" else array
    array = array[:, None] if expected == "c1yx" else array[None] if expected == "zyx" else array
    assert_agrees(path, array, len(array))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("depth", [1, 6])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_colours_are_channels_however_they_lie(tmp_path: Path, planar: str, depth: int, dtype: str) -> None:
    array = generator.integers(0, 256, (depth, 3, 9, 11)).astype(dtype)
    stored = array if planar == "separate" else np.moveaxis(array, 1, -1)
    stored = stored[0] if depth == 1 else stored
    path = tiff(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    assert_agrees(path, np.swapaxes(array, 0, 1), 3)


@pytest.mark.parametrize(("kind", "channels"), [("unassalpha", 3), ("unspecified", 4), ("assocalpha", None)])
def test_transparency_is_dropped_where_colours_are_as_measured(tmp_path: Path, kind: str, channels: int | None) -> None:
    array = generator.integers(0, 256, (9, 11, 4)).astype(np.uint8)
    path = tiff(tmp_path / "a.tif", array, photometric="rgb", extrasamples=[kind])
    if channels is None:
        with pytest.raises(ImageFileError, match="transparency"):
            read_image([path])
        array[..., 3] = 255
        tiff(path, array, photometric="rgb", extrasamples=[kind])
    assert_agrees(path, np.moveaxis(array, -1, 0)[: channels or 3, None], channels or 3)


def test_samples_without_colour_are_channels(tmp_path: Path) -> None:
    array = generator.integers(0, 256, (9, 11, 5)).astype(np.uint16)
    path = tiff(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig")
    assert_agrees(path, np.moveaxis(array, -1, 0)[:, None], 5)


@pytest.mark.parametrize(("mode", "ending"), [("CMYK", ".tif"), ("LAB", ".tif"), ("CMYK", ".jpg"), ("YCbCr", ".tif")])
def test_colours_that_would_have_to_be_converted_are_refused(tmp_path: Path, mode: str, ending: str) -> None:
    if mode == "YCbCr":
        tiff(tmp_path / f"a{ending}", COLOUR, photometric="ycbcr", planarconfig="contig", compression=None)
    elif mode == "LAB":
        tiff(tmp_path / f"a{ending}", COLOUR, photometric="cielab", planarconfig="contig")
    else:
        Pillow.fromarray(COLOUR).convert(mode).save(tmp_path / f"a{ending}")
    with pytest.raises(ImageFileError, match="RGB or grey"):
        read_image([tmp_path / f"a{ending}"])


def test_complex_numbers_and_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="complex64"):
        read_image([tiff(tmp_path / "a.tif", GREY.astype(np.complex64))])
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(GREY, photometric="minisblack")
        file.write(GREY[:5], photometric="minisblack")
    with pytest.raises(ImageFileError, match="2 pictures"):
        read_header(tmp_path / "b.tif")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("colours", [True, False])
def test_palettes_in_tiff_are_as_in_png(tmp_path: Path, compression: str, colours: bool) -> None:
    image = Pillow.fromarray(GREY % 3, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] if colours else [9, 9, 9, 5, 5, 5, 200, 200, 200])
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "a.tif", compression=compression)
    expected = read_image([tmp_path / "a.png"]).array
    assert_agrees(tmp_path / "a.tif", expected, 3 if colours else 1)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif")[0], read_labels(tmp_path / "a.png")[0])


@pytest.mark.parametrize("array", [GREY, COLOUR, GREY.astype(np.uint16) * 200], ids=["grey", "colour", "16 bits"])
def test_pictures_compressed_for_other_programs_are_read(tmp_path: Path, array: np.ndarray) -> None:
    Pillow.fromarray(array).save(tmp_path / "a.tif", compression="tiff_lzw")
    expected = array[None, None] if array.ndim == 2 else np.moveaxis(array, -1, 0)[:, None]
    assert_agrees(tmp_path / "a.tif", expected, len(expected))


def test_jpeg_within_tiff_is_rgb(tmp_path: Path) -> None:
    smooth = np.repeat(np.arange(64, dtype=np.uint8)[:, None, None] * 3, 64, 1).repeat(3, 2)
    Pillow.fromarray(smooth).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    found = read_image([tmp_path / "a.tif"]).array
    assert found.shape == (3, 1, 64, 64)
    assert np.abs(found[:, 0] - np.moveaxis(smooth.astype(float), -1, 0)).max() < 12


@pytest.mark.parametrize("bits", [2, 4])
def test_values_of_a_few_bits_are_not_spread_in_tiff(tmp_path: Path, bits: int) -> None:
    values = generator.integers(0, 2**bits, (8, 8)).astype(np.uint8)
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., -bits:].reshape(8, -1), axis=-1)
    path = tiff(tmp_path / "a.tif", packed, photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        tags["ImageWidth"].overwrite(8)
        tags["BitsPerSample"].overwrite(bits)
    np.testing.assert_array_equal(read_labels(path)[0][0], values)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"])
def test_modes_of_png(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        image, expected = Pillow.fromarray(GREY.astype(np.uint16) * 256), GREY[None, None] * 256.0
    else:
        image = Pillow.fromarray(COLOUR).convert("RGB" if mode == "PA" else mode)
        expected = np.asarray(image.convert("L" if mode in ("1", "L", "LA") else "RGB"), float)
        expected = np.moveaxis(expected.reshape(9, 11, -1), -1, 0)[:, None]
    expected = expected / 255 if mode == "1" else expected
    options = {"transparency": bytes(range(200))} if mode == "PA" else {}
    image = image.convert("P") if mode == "PA" else image
    expected = np.moveaxis(np.asarray(image.convert("RGB"), float), -1, 0)[:, None] if mode == "PA" else expected
    image.save(tmp_path / "a.png", **options)
    assert_agrees(tmp_path / "a.png", expected, len(expected))


def test_sixteen_bit_colours_of_png_are_turned_without_losing_bits(tmp_path: Path) -> None:
    pixels = generator.integers(0, 65536, (5, 6, 3)).astype(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), tmp_path / "deep.png")
    content = (tmp_path / "deep.png").read_bytes()
    Pillow.fromarray(GREY).save(tmp_path / "exif.png", exif=turned(6))
    exif = (tmp_path / "exif.png").read_bytes()
    start = exif.index(b"eXIf") - 4
    chunk = exif[start : start + 12 + int.from_bytes(exif[start : start + 4], "big")]
    at = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:at] + chunk + content[at:])
    assert_agrees(tmp_path / "a.png", np.moveaxis(np.rot90(pixels, -1), -1, 0)[:, None], 3)


def test_a_file_is_what_its_content_says(tmp_path: Path) -> None:
    Pillow.fromarray(GREY).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert read_image([tmp_path / "a.png"]).array.shape == (1, 1, 9, 11)
    with pytest.raises(ImageFileError, match="JPEG"):
        read_labels(tmp_path / "a.png")
    Pillow.fromarray(GREY).save(tmp_path / "b.gif")
    (tmp_path / "b.gif").rename(tmp_path / "b.png")
    with pytest.raises(ImageFileError, match="no PNG"):
        read_image([tmp_path / "b.png"])


@pytest.mark.slow
def test_large_pictures_are_read_without_a_warning(tmp_path: Path) -> None:
    pixels = np.zeros((10_000, 9_500), np.uint8)  # more than Pillow's 89 megapixels
    Pillow.fromarray(pixels).save(tmp_path / "a.png", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_labels(tmp_path / "a.png")[0].shape == (1, 10_000, 9_500)
        assert warnings.filters[0][0] == "error"


def test_two_dimensional_label_maps_come_back_from_tiff(tmp_path: Path) -> None:
    labels = generator.integers(0, 60000, (1, 9, 11))
    write_labels(labels, Geometry.plain_2d((9, 11)), tmp_path / "a.tif")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif")[0], labels)
