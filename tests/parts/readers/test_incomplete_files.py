"""What a file announces and does not hold is refused, and nothing is left out or made up without a word."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from autoseg.errors import DatasetError, ImageFileError
from autoseg.parts.readers import read_header, read_image, read_labels

generator = np.random.default_rng(0)
STACK = generator.integers(0, 4, (16, 8, 8)).astype(np.uint8)
FLAT = np.full((64, 64), 7, np.uint8)
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{uuid}><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="8" SizeZ="{slices}" SizeC="1" '
    'SizeT="1">{data}</Pixels></Image></OME>'
)


def ome(slices: int, data: str = "<TiffData/>", uuid: str = "") -> str:
    return OME.format(slices=slices, data=data, uuid=uuid)


def tiff(path: Path, array: np.ndarray, description: str, **options: object) -> Path:
    tifffile.imwrite(path, array, description=description, metadata=None, photometric="minisblack", **options)
    return path


@pytest.mark.parametrize(
    ("pages", "description", "announced"),
    [
        (8, ome(16), "16"),
        (16, ome(4), "4"),
        (16, ome(32), "32"),
        (16, ome(2_000_000_000), "2000000000"),
        (16, ome(16, '<TiffData PlaneCount="3000000"/>'), "3000000"),
        (16, ome(16, '<TiffData IFD="0" PlaneCount="1"/><TiffData IFD="2" FirstZ="1" PlaneCount="1"/>'), "2"),
        (16, ome(16, "".join(f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"/>' for z in range(16))), "1"),
        (16, "ImageJ=1.11a\nimages=8\nslices=8\n", "8"),
        (8, "ImageJ=1.11a\nimages=16\nslices=16\n", "16"),
        (1, "ImageJ=1.11a\nimages=16\nslices=16\n", "16"),
        (1, "ImageJ=1.11a\nimages=1000000000\nslices=1000000000\nhyperstack=true\n", "1000000000"),
        (16, '{"shape": [4, 64, 8]}', "(1|32)"),  # by the version of tifffile
        (1, '{"shape": [100000, 8, 8]}', "100000"),
    ],
)
def test_a_description_that_does_not_match_the_pages_is_refused_with_both_numbers(
    tmp_path: Path, pages: int, description: str, announced: str
) -> None:
    path = tiff(tmp_path / "a.tif", STACK[:pages] if pages > 1 else STACK[0], description)
    tracemalloc.start()
    try:
        with pytest.raises(ImageFileError, match=rf"a\.tif: .* {announced} planes, but the file has {pages} page"):
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_further_axes_within_those_of_ome_are_refused(tmp_path: Path) -> None:
    along = '<StructuredAnnotations><XMLAnnotation ID="A" Namespace="openmicroscopy.org/omero/dimension/modulo"><Value>'
    along += '<Modulo><ModuloAlongZ Type="other" Start="0" End="1e9" Step="0.001"/></Modulo></Value></XMLAnnotation>'
    path = tiff(tmp_path / "a.tif", STACK, ome(16).replace("</OME>", f"{along}</StructuredAnnotations></OME>"))
    with pytest.raises(ImageFileError, match="further axes"):
        read_header(path)


@pytest.mark.parametrize(
    "description",
    [
        ome(16),
        ome(16, "".join(f'<TiffData IFD="{z}" FirstZ="{z}" PlaneCount="1"/>' for z in range(16))),
        ome(40, '<TiffData><UUID FileName="elsewhere.tif">urn:uuid:b</UUID></TiffData>', ' UUID="urn:uuid:a"'),
        ome(16, '<TiffData><UUID FileName="renamed.tif">urn:uuid:a</UUID></TiffData>', ' UUID="urn:uuid:a"'),
        ome(16)[:-40] + "</OME>",
        "ImageJ=1.11a\nimages=16\nslices=16\n",
        "ImageJ=1.11a\nimages=16\n",
    ],
    ids=[
        "OME",
        "OME, page by page",
        "OME, of several files",
        "OME, renamed",
        "OME, damaged",
        "ImageJ",
        "ImageJ, images",
    ],
)
def test_pages_of_sound_descriptions_are_slices(tmp_path: Path, description: str) -> None:
    path = tiff(tmp_path / "a.tif", STACK, description)
    np.testing.assert_array_equal(read_image([path]).array[0], STACK)


@pytest.mark.parametrize(
    "description", ['{"shape": [16, 8, 8], "axes": "ZYX", "truncated": true}', "ImageJ=1.11a\nimages=16\nslices=16\n"]
)
def test_planes_behind_one_page_are_read_as_in_tifffile(tmp_path: Path, description: str) -> None:
    path = tiff(tmp_path / "a.tif", STACK[0], description)
    whole = path.read_bytes() + STACK[1:].tobytes()
    path.write_bytes(whole)
    np.testing.assert_array_equal(tifffile.imread(path), STACK)
    np.testing.assert_array_equal(read_labels(path)[0], STACK)
    path.write_bytes(whole[:-1])
    with pytest.raises(ImageFileError, match=r"a\.tif: .* 16 planes, but the file has 1 page"):
        read_header(path)


@pytest.mark.parametrize("levels", ["in pages", "in a page"])
def test_smaller_copies_of_a_picture_are_left_out(tmp_path: Path, levels: str) -> None:
    picture = generator.integers(0, 256, (64, 64)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(picture, subifds=levels == "in a page", photometric="minisblack", metadata=None)
        file.write(picture[::2, ::2], subfiletype=1, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(read_image([tmp_path / "a.tif"]).array[0, 0], picture)


@pytest.mark.parametrize("tag", ["StripByteCounts", "StripOffsets"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_part_of_a_tiff_that_lies_nowhere_is_refused(tmp_path: Path, tag: str, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FLAT, rowsperstrip=16, compression=compression, photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as file:
        found = file.pages[0].tags[tag]
        found.overwrite([found.value[0], 0, *found.value[2:]])
    with pytest.raises(ImageFileError, match=r"a\.tif"):
        read_image([path])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_deflate", "jpeg"])
def test_a_part_of_a_tiff_with_too_few_rows_is_refused(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.tif"
    Pillow.fromarray(FLAT[:32]).save(path, compression=compression)
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag in ("ImageLength", "RowsPerStrip"):
            file.pages[0].tags[tag].overwrite(64)
    with pytest.raises(ImageFileError, match=r"a\.tif"):
        read_image([path])


def png(rows: bytes, *, colour: int = 0, bits: int = 8, size: tuple[int, int] = (64, 64), interlaced: int = 0) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced))
    palette = chunk(b"PLTE", bytes(range(9))) if colour == 3 else b""
    packed = zlib.compress(rows)
    middle = len(packed) // 2
    data = chunk(b"IDAT", packed[:middle]) + chunk(b"IDAT", packed[middle:])
    return b"\x89PNG\r\n\x1a\n" + start + palette + data + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("colour", "bits", "row"), [(0, 8, 65), (0, 1, 9), (0, 16, 129), (2, 8, 193), (2, 16, 385), (3, 4, 33), (6, 8, 257)]
)
def test_a_png_with_too_few_rows_is_refused(tmp_path: Path, colour: int, bits: int, row: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(bytes(64 * row), colour=colour, bits=bits))
    assert read_image([path]).array.shape[1:] == (1, 64, 64)
    read_labels(path)
    for rows in (20 * row, 64 * row - 1):
        path.write_bytes(png(bytes(rows), colour=colour, bits=bits))
        for reading in (lambda: read_image([path]), lambda: read_labels(path)):
            with pytest.raises(ImageFileError, match=r"a\.png"):
                reading()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (64, 33)])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_png_of_any_kind_is_read(tmp_path: Path, size: tuple[int, int], mode: str) -> None:
    pixels = generator.integers(0, 2, size).astype(np.uint16 if mode == "I;16" else np.uint8)
    image = Pillow.fromarray(pixels) if mode in ("I;16", "L") else Pillow.fromarray(pixels * 255).convert(mode)
    image.save(tmp_path / "a.png")
    assert read_image([tmp_path / "a.png"]).array.shape[2:] == size


PASSES = np.array(
    [[int(number) for number in row] for row in (
        "16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777",
    )]
)  # fmt: skip
"""In which pass each pixel of 8 x 8 comes: PNG, section 8.2."""


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 5), (8, 8), (13, 21)])
def test_a_png_in_seven_passes_is_judged_by_all_of_them(tmp_path: Path, size: tuple[int, int]) -> None:
    passes = np.tile(PASSES, (3, 3))[: size[1], : size[0]]
    rows = [np.count_nonzero(row == number) for number in range(1, 8) for row in passes]
    count, path = sum(1 + pixels for pixels in rows if pixels), tmp_path / "a.png"
    path.write_bytes(png(bytes(count), size=size, interlaced=1))
    assert read_image([path]).array.shape[2:] == size[::-1]
    path.write_bytes(png(bytes(count - 1), size=size, interlaced=1))
    with pytest.raises(ImageFileError, match=r"a\.png"):
        read_image([path])


JPEGS: dict[str, dict[str, object]] = {
    "plain": {}, "optimised": {"optimize": True}, "restarts": {"restart_marker_rows": 1}, "fine": {"subsampling": 0},
}  # fmt: skip


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("content", ["noise", 0, 255])
def test_a_jpeg_that_ends_early_is_refused(tmp_path: Path, options: dict, mode: str, content: str | int) -> None:
    noise = generator.integers(0, 256, (100, 90, 3))
    pixels = (noise if content == "noise" else np.full_like(noise, content)).astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    whole, path = file.getvalue(), tmp_path / "a.jpg"
    path.write_bytes(whole)
    np.testing.assert_array_equal(
        np.moveaxis(read_image([path]).array[:, 0], 0, -1).squeeze(), np.asarray(Pillow.open(path))
    )
    start = whole.rindex(b"\xff\xda") + 14
    for share in (0.2, 0.5, 0.8):
        end = start + int(share * (len(whole) - start))
        path.write_bytes(whole[:end] + b"\xff" + b"\xff\xd9")  # any number of 255 may stand before a marker
        with pytest.raises(ImageFileError, match=r"a\.jpg.*last row"):
            read_image([path])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_progressive_jpeg_without_its_last_scans_is_refused(tmp_path: Path, mode: str) -> None:
    file = io.BytesIO()
    pixels = generator.integers(0, 256, (100, 90, 3)).astype(np.uint8)
    Pillow.fromarray(pixels).convert(mode).save(file, "JPEG", progressive=True)
    whole, path = file.getvalue(), tmp_path / "a.jpg"
    path.write_bytes(whole)
    assert read_image([path]).array.shape[2:] == (100, 90)
    path.write_bytes(whole[: whole.rindex(b"\xff\xda")] + b"\xff\xd9")
    with pytest.raises(ImageFileError, match=r"a\.jpg.*scans"):
        read_image([path])


def test_small_jpegs_of_one_value_are_whole(tmp_path: Path) -> None:
    for value in (0, 128, 255):
        for size in ((1, 1), (1, 30), (30, 1), (8, 8), (17, 5)):
            Pillow.fromarray(np.full(size, value, np.uint8)).save(tmp_path / "a.jpg", quality=100)
            assert read_image([tmp_path / "a.jpg"]).array.shape[2:] == size


@pytest.mark.slow
def test_files_on_other_grids_are_refused_before_their_voxels_are_unpacked(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(STACK, np.eye(4)), tmp_path / "a_0000.nii.gz")
    content = bytearray(nibabel.Nifti1Image(np.zeros((500, 500, 500), np.uint8), np.eye(4)).to_bytes())
    (tmp_path / "a_0001.nii.gz").write_bytes(gzip.compress(content, 1))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=r"a_0001.*shape \(500, 500, 500\)"):
            read_image([tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"])
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
