"""Whatever the bytes of a file: an image with a finite grid, or one kind of error that names it, soon and cheaply."""

from __future__ import annotations

import gzip
import os
import random
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as Pillow

from autoseg.errors import DatasetError, ImageFileError
from autoseg.parts.readers import read_header, read_image, read_labels

MEMORY = 100_000_000  # bytes that a refusal may take
VOXELS = np.random.default_rng(0).integers(0, 4, (4, 5, 6)).astype(np.int16)
PIXELS = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    "Offset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
)
NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nspacings: 1 1 1\nencoding: raw\nendian: little\n\n"


def nifti(change: Callable[[bytearray], object] = lambda content: None) -> bytes:
    content = bytearray(nibabel.Nifti1Image(VOXELS.T, np.eye(4)).to_bytes())
    change(content)
    return bytes(content)


def with_axes(*lengths: int) -> Callable[[bytearray], object]:
    return lambda content: struct.pack_into("<8h", content, 40, len(lengths), *lengths, *[1] * (7 - len(lengths)))


def meta(*changes: tuple[str, str], data: bytes = bytes(24)) -> bytes:
    text = META
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode() + data


def nrrd(*changes: tuple[str, str], data: bytes = bytes(24)) -> bytes:
    text = NRRD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode() + data


def gipl(*lengths: int) -> bytes:
    return struct.pack(">4HH4f", *lengths, 8, 1, 1, 1, 1).ljust(252, b"\0") + struct.pack(">I", 719555000) + bytes(24)


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg(width: int, height: int, folder: Path) -> bytes:
    Pillow.fromarray(PIXELS).save(folder / "small.jpg")
    content = bytearray((folder / "small.jpg").read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def tiff(width: int, height: int, data: bytes, compression: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: 8, 277: 1, 278: height, 279: len(data)}
    start = 8 + len(data)
    content = b"II*\0" + struct.pack("<I", start) + data + struct.pack("<H", len(tags))
    return content + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()) + bytes(4)


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def many_pages(_: Path) -> bytes:
    """Each has a width and a height and is 30 bytes long."""
    page = struct.pack("<HHHIIHHII", 2, 256, 4, 1, 9, 257, 4, 1, 9)
    return b"II*\0" + struct.pack("<I", 8) + b"".join(page + struct.pack("<I", 38 + 30 * n) for n in range(500_000))


def huge_tile(folder: Path) -> bytes:
    tifffile.imwrite(folder / "small.tif", PIXELS[..., 0], tile=(16, 16))
    with tifffile.TiffFile(folder / "small.tif", mode="r+") as file:
        for name in ("TileWidth", "TileLength"):
            file.pages[0].tags[name].overwrite(2**15)
    return (folder / "small.tif").read_bytes()


def linked_to_itself(folder: Path) -> bytes:
    (folder / "b.raw").symlink_to("a.mhd")
    return meta(("LOCAL", "b.raw"))


BOMB = zlib.compress(bytes(300_000_000), 1)
HOSTILE: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "NIfTI, terabytes": (".nii", lambda _: nifti(with_axes(32767, 32767, 32767))),
    "NIfTI, packed terabytes": (".nii.gz", lambda _: gzip.compress(nifti(with_axes(32767, 32767, 32767)))),
    "NIfTI, gigabytes in few bytes": (".nii.gz", lambda _: gzip.compress(nifti(with_axes(1500, 1500, 1500)))),
    "NIfTI, only a header": (".nii", lambda _: nifti()[:352]),
    "NIfTI, compressed garbage": (".nii.gz", lambda _: b"\x1f\x8b" + bytes(range(256)) * 8),
    "NIfTI, a million streams": (".nii.gz", lambda _: gzip.compress(nifti()[:100]) + gzip.compress(b"") * 500_000),
    "NIfTI, no end": (".nii.gz", lambda _: gzip.compress(nifti())[:-8]),
    "NRRD, terabytes": (".nrrd", lambda _: nrrd(("2 3 4", "100000 100000 100000"))),
    "NRRD, packed terabytes": (".nrrd", lambda _: nrrd(("2 3 4", "100000 100000 100000"), ("raw", "gzip"))),
    "NRRD, more than 64 bits": (".nrrd", lambda _: nrrd(("2 3 4", "99999999999 99999999999 99999999999"))),
    "NRRD, another file": (".nrrd", lambda _: nrrd(("\n\n", "\ndata file: /etc/passwd\n\n"))),
    "NRRD, another folder": (".nrrd", lambda _: nrrd(("\n\n", "\ndatafile: ../x.raw\n"))),
    "NRRD, a list": (".nrrd", lambda _: nrrd(("\n\n", "\ndata file: LIST\nx.raw\n"))),
    "NRRD, a pattern": (".nrrd", lambda _: nrrd(("\n\n", "\ndata file: x%03d.raw 1 4 1\n"))),
    "NRRD, at the end of a stream": (
        ".nrrd", lambda _: nrrd(("raw", "gzip"), ("\n\n", "\nbyte skip: -1\n\n"), data=BOMB)
    ),
    "NRRD, odd line ends": (".nrrd", lambda _: nrrd(("\nspacings", "\rdata file: /etc/passwd\rspacings"))),
    "MetaImage, terabytes": (".mha", lambda _: meta(("2 3 4", "100000 100000 100000"))),
    "MetaImage, packed terabytes": (
        ".mha", lambda _: meta(("2 3 4", "100000 100000 100000"), ("CompressedData = False", "CompressedData = True"))
    ),
    "MetaImage, too large a packed size": (
        ".mha", lambda _: meta(("CompressedData = False", "CompressedData = True\nCompressedDataSize = 999999999999"))
    ),
    "MetaImage, another file": (".mha", lambda _: meta(("LOCAL", "/etc/passwd"))),
    "MetaImage, another folder": (".mhd", lambda _: meta(("LOCAL", "../x.raw"))),
    "MetaImage, another system's folder": (".mhd", lambda _: meta(("LOCAL", "..\\x.raw"))),
    "MetaImage, a list": (".mhd", lambda _: meta(("LOCAL", "LIST\n/etc/passwd"))),
    "MetaImage, a pattern": (".mhd", lambda _: meta(("LOCAL", "x%03d.raw 1 4 1"))),
    "MetaImage, not there": (".mhd", lambda _: meta(("LOCAL", "absent.raw"))),
    "MetaImage, a folder": (".mhd", lambda _: meta(("LOCAL", "."))),
    "MetaImage, hidden behind a long line": (
        ".mha", lambda _: meta(("NDims", f"Comment = {'x' * 600}ElementDataFile = /etc/passwd\nNDims"))
    ),
    "MetaImage, hidden behind another spelling": (
        ".mha", lambda _: meta(("NDims", "elementdatafile = LOCAL\nElementDataFile = /etc/passwd\nNDims"))
    ),
    "MetaImage, its header as voxels": (".mha", lambda _: meta(("ElementType", "HeaderSize = 100\nElementType"))),
    "MetaImage, a header of no size": (".mha", lambda _: meta(("ElementType", "HeaderSize = 1e2\nElementType"))),
    "MetaImage, itself as voxels": (".mha", lambda _: meta(("LOCAL", "a.mha"))),
    "MetaImage, a link to itself": (".mhd", linked_to_itself),
    "NRRD, itself as voxels": (".nrrd", lambda _: nrrd(("\n\n", "\ndata file: a.nrrd\n\n"))),
    "MetaImage, a billion axes": (".mha", lambda _: meta(("NDims = 3", "NDims = 399999999999"))),
    "MetaImage, more axes than lengths": (".mha", lambda _: meta(("NDims = 3", "NDims = 5"))),
    "MetaImage, spacing NaN": (".mha", lambda _: meta(("ElementSpacing = 1 1 1", "ElementSpacing = nan 1 1"))),
    "MetaImage, spacing 0": (".mha", lambda _: meta(("ElementSpacing = 1 1 1", "ElementSpacing = 0 1 1"))),
    "MetaImage, flat": (".mha", lambda _: meta(("1 0 0 0 1 0 0 0 1", "1 0 0 0 1 0 0 1 0"))),
    "MetaImage, no axes": (".mha", lambda _: meta(("2 3 4", "0 3 4"))),
    "GIPL, too large": (".gipl", lambda _: gipl(65535, 65535, 65535, 1)),
    "GIPL, no voxels": (".gipl", lambda _: gipl(0, 3, 4, 1)),
    "PNG, huge": (".png", lambda _: png(2**31 - 1, 2**31 - 1, zlib.compress(bytes(100)))),
    "PNG, large for its bytes": (".png", lambda _: png(30000, 30000, zlib.compress(bytes(100)))),
    "JPEG, huge": (".jpg", lambda folder: jpeg(65500, 65500, folder)),
    "BMP, huge": (".bmp", lambda _: bmp(60000, 60000)),
    "TIFF, huge": (".tif", lambda _: tiff(2**31, 2**31, bytes(100), 1)),
    "TIFF, packed, huge": (".tif", lambda _: tiff(100_000, 100_000, zlib.compress(bytes(100)), 8)),
    "TIFF, parts that unpack to more": (".tif", lambda _: tiff(100, 100, BOMB, 8)),
    "TIFF, a huge tile": (".tif", huge_tile),
    "TIFF, packed by LZW, huge": (".tif", lambda _: tiff(100_000, 100_000, bytes(100), 5)),
    "TIFF, a million pages": (".tif", many_pages),
    "TIFF, pages in a circle": (".tif", lambda _: tiff(10, 10, bytes(100), 1)[:-4] + struct.pack("<I", 108)),
    "a picture that is PostScript": (".png", lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
}  # fmt: skip


def outcome(path: Path) -> list[str]:
    """What is said of a file by every reader of it; checks what has been read."""
    said = []
    for reading in (read_header, lambda path: read_image([path]), read_labels):
        try:
            found = reading(path)
        except (ImageFileError, DatasetError) as error:
            said.append(str(error))
            assert path.name in str(error)
            assert len(str(error).encode()) < 2000
            assert str(error).isprintable()
            continue
        geometry = found[1] if isinstance(found, tuple) else found.geometry
        assert np.isfinite([*geometry.spacing, *geometry.origin, *geometry.direction]).all()
        assert min(*geometry.shape, *geometry.spacing) > 0
        array = found[0] if isinstance(found, tuple) else getattr(found, "array", None)
        assert array is None or array.shape[-3:] == geometry.shape
    return said


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_name_before_it_costs_anything(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ending, content = HOSTILE[name]
    path = tmp_path / f"a{ending}"
    path.write_bytes(content(tmp_path))
    tracemalloc.start()
    try:
        start = time.monotonic()
        said = outcome(path)
        assert time.monotonic() - start < 10
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert len(said) >= 2, "neither image nor label map may be read"
    assert "root:" not in "".join(said)


@pytest.mark.slow
def test_what_stands_behind_the_voxels_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti() + bytes(300_000_000), 1))
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(read_image([tmp_path / "a.nii.gz"]).array[0], VOXELS)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_a_file_of_voxels_beside_its_header_is_read(tmp_path: Path) -> None:
    voxels = bytes(range(24))
    (tmp_path / "x y.raw").write_bytes(voxels)
    (tmp_path / "a.mhd").write_bytes(meta(("LOCAL", "x y.raw"), data=b""))
    (tmp_path / "a.nrrd").write_bytes(nrrd(("\n\n", "\ndata file: x y.raw\n"), data=b""))
    for name in ("a.mhd", "a.nrrd"):
        np.testing.assert_array_equal(read_labels(tmp_path / name)[0].ravel(), list(voxels))
    (tmp_path / "x y.raw").write_bytes(voxels[:-1])
    for name in ("a.mhd", "a.nrrd"):
        with pytest.raises(ImageFileError, match=name):
            read_image([tmp_path / name])


def test_voxels_behind_another_header_are_read_as_in_itk(tmp_path: Path) -> None:
    voxels = bytes(range(24))
    (tmp_path / "x.raw").write_bytes(bytes(100) + voxels)
    for size in (100, -1):
        (tmp_path / "a.mhd").write_bytes(
            meta(("LOCAL", "x.raw"), ("ElementType", f"HeaderSize = {size}\nElementType"), data=b"")
        )
        expected = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "a.mhd"))
        np.testing.assert_array_equal(read_labels(tmp_path / "a.mhd")[0], expected)
        np.testing.assert_array_equal(expected.ravel(), list(voxels))
    (tmp_path / "a.mha").write_bytes(meta(("ElementType", "HeaderSize = -1\nElementType"), data=voxels))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.mha")[0].ravel(), list(voxels))
    (tmp_path / "x.raw").write_bytes(bytes(100) + voxels[:-1])
    (tmp_path / "a.mhd").write_bytes(
        meta(("LOCAL", "x.raw"), ("ElementType", "HeaderSize = 100\nElementType"), data=b"")
    )
    with pytest.raises(ImageFileError, match=r"a\.mhd.*23 bytes"):
        read_header(tmp_path / "a.mhd")


def test_spacing_below_zero_turns_the_axis_as_in_itk(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(meta(("ElementSpacing = 1 1 1", "ElementSpacing = -1 2 3")))
    expected = sitk.ReadImage(tmp_path / "a.mha")
    geometry = read_header(tmp_path / "a.mha").geometry
    assert geometry.spacing[::-1] == expected.GetSpacing() == (1, 2, 3)
    assert geometry.direction == expected.GetDirection() == (-1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".png", ".tif"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"pipe{ending}")
    (tmp_path / f"folder{ending}").mkdir()
    (tmp_path / f"loop{ending}").symlink_to(tmp_path / f"loop{ending}")
    (tmp_path / f"null{ending}").symlink_to("/dev/zero")
    (tmp_path / f"line\n\x1b[31mend{ending}").write_bytes(b"x")
    for name in ("pipe", "folder", "loop", "null"):
        assert len(outcome(tmp_path / f"{name}{ending}")) == 3
    for path in (tmp_path / f"line\n\x1b[31mend{ending}", tmp_path / f"{'x' * 300}{ending}", tmp_path / f"a\0{ending}"):
        with pytest.raises(ImageFileError) as refused:
            read_image([path])
        assert str(refused.value).isprintable()


def test_a_file_that_may_not_be_read_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(nifti())

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # for root, whom nothing is denied
    with pytest.raises(ImageFileError, match=r"a\.nii.*Permission denied"):
        read_image([path])


def small_files(folder: Path) -> dict[str, bytes]:
    """One valid file of every kind, by name."""
    image = sitk.GetImageFromArray(VOXELS)
    vectors = sitk.GetImageFromArray(np.stack([VOXELS, VOXELS], -1).astype(np.float32), isVector=True)
    for ending in (".nii", ".nii.gz", ".nrrd", ".mha", ".gipl"):
        sitk.WriteImage(image, folder / f"packed{ending}", useCompression=True)
        if ending in (".nrrd", ".mha"):
            sitk.WriteImage(image, folder / f"raw{ending}")
            sitk.WriteImage(vectors, folder / f"vector{ending}")
    for order in "<>":
        name = "little" if order == "<" else "big"
        nibabel.save(
            nibabel.Nifti2Image(VOXELS, np.eye(4), nibabel.Nifti2Header(endianness=order)), folder / f"{name}.nii"
        )
    for ending in (".png", ".bmp", ".jpg"):
        Pillow.fromarray(PIXELS).save(folder / f"colour{ending}")
        Pillow.fromarray(PIXELS[..., 0]).save(folder / f"grey{ending}")
    stack = np.tile(PIXELS[..., 0], (6, 1, 1))
    tifffile.imwrite(folder / "picture.tif", PIXELS[..., 0])
    tifffile.imwrite(folder / "stack.tif", stack, compression="zlib")
    tifffile.imwrite(folder / "imagej.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "ome.tif", stack, ome=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "tiles.tif", PIXELS, tile=(16, 16), bigtiff=True, byteorder=">")
    Pillow.fromarray(PIXELS).save(folder / "lzw.tif", compression="tiff_lzw")
    Pillow.fromarray(PIXELS[..., 0] % 3, "P").save(folder / "palette.tif", compression="packbits")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


ODD = [b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f", b"\0\0\x80\xff",
       b"-1", b"999999999", b"nan", b"/etc/passwd", b"\n", b" ", bytes(8), b"\0\0\0\0\0\0\xf8\x7f"]  # fmt: skip


def damaged(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(min(len(changed), chance.choice([64, 360, 600, 10**9])) or 1)
        odd, kind = chance.choice(ODD), chance.randrange(7)
        if kind == 0 and changed:
            changed[min(at, len(changed) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at : at + len(odd)] = odd
        elif kind == 2:
            changed[at:at] = odd
        elif kind == 3:
            del changed[at : at + chance.choice([1, 4, 50])]
        elif kind == 4:
            del changed[chance.randrange(len(changed) + 1) :]
        elif kind == 5:
            changed += chance.choice([bytes(1000), content])
        else:
            number = struct.pack(chance.choice("<>") + chance.choice("hiqfd"), chance.choice([0, -1, 1, 2, 100]))
            changed[at : at + len(number)] = number
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_of_every_kind_are_read_or_refused(
    tmp_path: Path, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "whole").mkdir()
    chance = random.Random(seed)
    for name, content in small_files(tmp_path / "whole").items():
        path = tmp_path / name
        path.write_bytes(content)
        assert len(outcome(path)) <= 1, "an image of colours is no label map"
        for _ in range(12):
            path.write_bytes(damaged(content, chance))
            outcome(path)


def test_warnings_of_libraries_are_silent_in_every_thread_and_come_back(tmp_path: Path) -> None:
    import warnings

    from autoseg.parts.readers._guard import silence

    inside, leave = threading.Barrier(3), threading.Barrier(3)

    def within() -> None:
        with silence():
            inside.wait(5)
            leave.wait(5)

    filters = list(warnings.filters)
    threads = [threading.Thread(target=within) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(5)
    assert warnings.filters != filters
    leave.wait(5)
    for thread in threads:
        thread.join(5)
    assert warnings.filters == filters
