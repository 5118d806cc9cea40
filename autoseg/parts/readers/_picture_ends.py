"""Whether a PNG or JPEG holds all of its pixels: Pillow fills what is missing with zeros or grey, and says nothing.

PNG: W3C Recommendation "Portable Network Graphics", sections 8 (interlacing) and 10 (compression). JPEG: ITU-T T.81,
annex B (markers) and G (progression).
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ._guard import unreadable

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's type of colour
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Of each pass: first row, first column, step of rows, step of columns."""
_PIECE = 1 << 16
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # all that ends a scan
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9
_COEFFICIENTS = 64
_BEHIND = b"\x55" * 16  # libjpeg reads some bytes ahead of those it needs


def refuse_early_end(path: Path) -> None:
    """Raises ImageFileError for a PNG or JPEG that ends before its last row; other files are not looked at."""
    with path.open("rb") as file:
        start = file.read(8)
        if start.startswith(b"\x89PNG"):
            _judge_png(file, path)
        elif start.startswith(b"\xff\xd8"):
            _judge_jpeg(start + file.read(), path)


def _judge_png(file: BinaryIO, path: Path) -> None:
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(21)[8:])
    needed = _png_bytes(width, height, bits * _SAMPLES.get(colour, 1), bool(interlaced))
    file.seek(33)
    unpacker, found = zlib.decompressobj(), 0
    for packed in _png_data(file):
        while packed and found < needed:
            found += len(unpacker.decompress(packed, _PIECE))
            packed = unpacker.unconsumed_tail
        if found >= needed:
            return
        if unpacker.eof:
            break
    found += len(unpacker.flush())
    if found < needed:
        raise unreadable(path, ValueError(f"{found} bytes of pixels, its header announces {needed}"))


def _png_bytes(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Of all rows, each with the byte that names its filter."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for top, left, down, right in passes:
        rows, columns = -(-max(0, height - top) // down), -(-max(0, width - left) // right)
        total += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return total


def _png_data(file: BinaryIO) -> Iterator[bytes]:
    """The pieces of its one stream of pixels."""
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        end = file.tell() + length + 4
        if kind == b"IEND":
            return
        while kind == b"IDAT" and length > 0:
            piece = file.read(min(length, _PIECE))
            if not piece:
                return
            length -= len(piece)
            yield piece
        file.seek(end)


def _judge_jpeg(content: bytes, path: Path) -> None:
    known: dict[int, set[int]] = defaultdict(set)
    components: list[int] = []
    scans, progressive, at = 0, False, 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != _END:
        kind = content[at + 1]
        if kind == 0xFF:  # a marker may have any number of these before it
            at += 1
            continue
        body = content[at + 4 : at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")]
        at += 4 + len(body)
        if kind in _FRAMES:
            components = list(body[6 : 6 + 3 * body[5] : 3])
            progressive = kind in (0xC2, 0xC6, 0xCA, 0xCE)
        elif kind == _SCAN:
            scans += 1
            count = body[0]
            first, last, bits = body[1 + 2 * count : 4 + 2 * count]
            for component in body[1 : 1 + 2 * count : 2]:
                known[component] |= set(range(first, last + 1)) if bits & 15 == 0 or not progressive else set()
            found = _MARKER.search(content, at)
            at = found.start() if found else len(content)
    if any(len(known[each]) < _COEFFICIENTS for each in components):
        raise unreadable(path, ValueError("some of its scans are missing"))
    if scans == 1 and not progressive and not _reaches_the_last_row(content[:at]):
        raise unreadable(path, ValueError("its data end before its last row"))


def _reaches_the_last_row(content: bytes) -> bool:
    """Of the only scan, which ends with ``content``: without its end, libjpeg waits for what is missing."""
    from PIL import Image as Pillow
    from PIL.JpegImagePlugin import JpegImageFile

    for fill in (0, 255):  # a row that is another one than before has been decoded
        with JpegImageFile(io.BytesIO(content.rstrip(b"\xff") + _BEHIND)) as image:
            image.im = Pillow.new(image.mode, image.size, (fill,) * len(image.getbands())).im
            try:
                image.load()
            except OSError:
                image.tile = []  # what has been decoded stays
            if (np.asarray(image)[-1] != fill).any():
                return True
    return False
