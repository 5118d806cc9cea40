"""The numbers in a TIFF file, what tifffile alone cannot unpack, and the colours among them."""

from __future__ import annotations

import lzma
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...core.limits import DENSEST, GRANTED, refuse_larger
from ...errors import ImageFileError
from . import simpleitk

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6  # photometric interpretation, TIFF 6.0
_COLOURS = {WHITE_IS_0: 1, BLACK_IS_0: 1, RGB: 3, PALETTE: 1}
_JPEG = (6, 7)  # compressions in which YCbCr is only how RGB is stored
_ALPHA_TAKEN_IN, _ALPHA = 1, 2  # kinds of extra samples; 0 is data
_UNPACKERS: dict[int, Any] = {8: zlib.decompressobj, 32946: zlib.decompressobj, 34925: lzma.LZMADecompressor}
_PIECE = 1 << 20
_ODD_BITS = (1, 2, 4, 12)  # per value, which Pillow unpacks


def refuse_bombs(series: Any, path: Path) -> None:
    """Refuses a file that announces more than it or this machine holds, or whose parts unpack to more than they say."""
    page = series.keyframe
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise ImageFileError(f"{path}: holds {page.dtype or 'unknown numbers'}; save it with real numbers, say float32")
    bits = 8 * page.dtype.itemsize // max(1, min(8, page.bitspersample))
    held = path.stat().st_size * (bits if page.compression == 1 else bits * DENSEST)
    refuse_larger(math.prod(series.shape) * page.dtype.itemsize, path, held=held)
    most = 2 * math.prod(page.chunks) * page.dtype.itemsize + _PIECE
    refuse_larger(most, path, held=2 * held + GRANTED)  # a tile may be larger than the picture
    unpacker = _UNPACKERS.get(int(page.compression))
    if unpacker is None:  # tifffile unpacks no more than is announced
        return
    for each in series.pages:
        for start, length in zip(each.dataoffsets, each.databytecounts):
            if length * DENSEST > GRANTED or unpacker is lzma.LZMADecompressor:
                _refuse_bomb(each.parent.filehandle, start, length, unpacker(), most, path)


def _refuse_bomb(handle: Any, start: int, length: int, unpacker: Any, most: int, path: Path) -> None:
    """Unpacks a part of the file once and forgets it: tifffile would hold whatever comes out."""
    handle.seek(start)
    packed, size = handle.read(length), 0
    while not unpacker.eof:
        made = unpacker.decompress(packed, _PIECE)
        packed = getattr(unpacker, "unconsumed_tail", b"")
        size += len(made)
        if size > most:
            raise ImageFileError(f"{path}: unpacks to far more than it announces; it is damaged or made to do harm")
        if not made and not packed:
            return


def stored(file: Any, path: Path) -> np.ndarray:
    """The whole array of the file, with the axes of its series."""
    page, series = file.pages[0], file.series[0]
    try:
        array: np.ndarray = file.asarray()
    except (ValueError, NotImplementedError) as error:
        if "imagecodecs" not in str(error) and "not supported" not in str(error):  # by the version of tifffile
            raise
        array = _by_others(page, len(series.pages), path)
    if array.size != math.prod(series.shape) or array.dtype != page.dtype.newbyteorder("="):
        raise ImageFileError(f"{path}: is compressed in a way that cannot be read here; save it with deflate or LZW")
    if array.dtype == bool:
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _by_others(page: Any, pages: int, path: Path) -> np.ndarray:
    """A compression for which tifffile needs a further package; ITK and Pillow have most of them."""
    from PIL.TiffImagePlugin import TiffImageFile

    if page.samplesperpixel > 1 and page.planarconfig != 1:
        return np.empty(0)
    if page.bitspersample not in _ODD_BITS and page.photometric != PALETTE:
        array = simpleitk.read_picture(path, ".tif")
        return np.moveaxis(array, 0, -1) if page.samplesperpixel > 1 else array
    if pages > 1 or page.bitspersample not in (*_ODD_BITS, 8):
        return np.empty(0)
    with TiffImageFile(path) as image:
        values = np.asarray(image)
    highest = 2**page.bitspersample - 1
    if image.mode == "L":
        values = values // (255 // highest)  # Pillow spreads them over 8 bits
    if page.photometric == WHITE_IS_0:
        values = highest - values.astype(page.dtype)  # ... and turns them around
    return values.astype(page.dtype)


def channels_kept(page: Any, array: np.ndarray | None, path: Path) -> list[int]:
    """Which samples of a pixel are data; ``array`` (samples, z, y, x) shows whether alpha has changed them.

    Raises ImageFileError for colours that would have to be converted.
    """
    colours = _COLOURS.get(int(page.photometric))
    if page.photometric == YCBCR and page.compression in _JPEG:
        colours = 3
    if colours is None:
        name = getattr(page.photometric, "name", page.photometric)
        raise ImageFileError(f"{path}: its colours are {name}; save it as RGB or grey")
    if page.samplesperpixel == 1:
        return list(range(1 if array is None else len(array)))
    kinds = [0] * colours + [int(kind) for kind in page.extrasamples]
    kinds += [0] * (page.samplesperpixel - len(kinds))
    if array is not None and _ALPHA_TAKEN_IN in kinds:
        alpha = array[kinds.index(_ALPHA_TAKEN_IN)]
        if (alpha != (np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1)).any():
            raise ImageFileError(f"{path}: its colours are multiplied by transparency; save it without transparency")
    return [number for number, kind in enumerate(kinds) if kind not in (_ALPHA_TAKEN_IN, _ALPHA)]


def colours_of(indices: np.ndarray, page: Any, labels: bool) -> np.ndarray:
    """(channels, z, y, x) of indices (z, y, x) into the page's palette, 8 bits as in Pillow.

    A grey palette gives one channel; one of colours gives three, or the indices themselves for ``labels``.
    """
    palette = (np.asarray(page.colormap) >> 8).astype(np.uint8)
    if (palette == palette[:1]).all():
        return palette[:1, indices]
    return indices[None] if labels else palette[:, indices]
