"""PNG, BMP and JPEG, read and written with Pillow. One pixel is 1 x 1 mm; colours are channels.

Alpha is dropped. A palette is resolved to grey or colour for images; see ``read_labels`` for label maps. Pictures that
say how they are to be turned (EXIF orientation) are turned, as every viewer and most programs for annotation do. Those
that end before their last row are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import Geometry
from ...core.limits import DENSEST, refuse_larger
from ...errors import ImageFileError
from . import simpleitk
from ._grid import Header
from ._guard import silence, unreadable
from ._orientation import swaps_axes, upright
from ._picture_ends import refuse_early_end

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

ENDINGS = (".png", ".bmp", ".jpg", ".jpeg")
LOSSY = (".jpg", ".jpeg")
_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM"  # how files begin: their endings are often wrong
_PNG_BITS = 24  # the byte that holds bits per value
_RUN = 256  # pixels that BMP packs into a byte, at most; a byte may also be 8 pixels of a bit
_GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
_COLOUR = {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA"}
_ORIENTATION = 0x0112  # the EXIF tag


def read_header(path: Path) -> Header:
    """Raises ImageFileError when Pillow cannot read the file."""
    with _opened(path) as image:
        return Header(_geometry(image), 1 if _is_grey(image) else 3)


def read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Pixels (channels, 1, y, x) in the file's own type, and their geometry. Raises ImageFileError."""
    with _opened(path) as image:
        refuse_early_end(path)
        if _is_deep(image):
            array = simpleitk.read_picture(path, ".png")[: 1 if _is_grey(image) else 3]
        else:
            pixels = _grey(image) if _is_grey(image) else np.asarray(image.convert("RGB"))
            array = np.moveaxis(pixels.reshape(image.height, image.width, -1), -1, 0)[:, None]
        return upright(array, _orientation(image)), _geometry(image)


def read_labels(path: Path) -> tuple[np.ndarray, Geometry]:
    """Like ``read``, but a palette of colours stands for its indices: that is how label maps use it.

    Refuses JPEG, whose compression changes label values.
    """
    with _opened(path) as image:
        if image.format in ("JPEG", "MPO"):
            raise ImageFileError(f"{path}: JPEG changes values when it compresses; save label maps as PNG")
        if image.mode in ("P", "PA") and not _is_grey(image):
            refuse_early_end(path)
            indices = np.asarray(image.getchannel(0))[None, None]
            return upright(indices, _orientation(image)), _geometry(image)
    return read(path)


def write(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes a label map (1, y, x) of at most 16 bits. Raises ImageFileError for anything else."""
    from PIL import Image as Pillow

    if array.ndim != 3 or array.shape[0] != 1 or array.dtype not in (np.uint8, np.uint16):
        raise ImageFileError(
            f"{path}: this format holds one slice of values from 0 to 65535, not {array.dtype} {array.shape}; "
            "write .nii.gz instead"
        )
    if array.dtype == np.uint16 and path.suffix.lower() == ".bmp":
        raise ImageFileError(f"{path}: BMP holds values from 0 to 255; write .png instead")
    with atomic_file(path) as temporary:
        Pillow.fromarray(array[0]).save(temporary)


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile]:
    """The picture, of a kind and size that is read.

    Pillow's own choice of a reader would let any of its forty formats in, and warn of pictures of 90 megapixels.
    """
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    with path.open("rb") as file:
        start = file.read(_PNG_BITS + 1)
    size = path.stat().st_size
    opener: type[ImageFile]
    if start.startswith(_PNG):
        opener, pixels = PngImageFile, size * DENSEST * (8 // max(1, min(8, start[-1])))
    elif start.startswith(_JPEG):
        opener, pixels = JpegImageFile, size * DENSEST
    elif start.startswith(_BMP):
        opener, pixels = BmpImageFile, size * _RUN
    else:
        raise unreadable(path, ValueError("it is no PNG, JPEG or BMP"))
    with silence(), opener(path) as image:
        if image.mode not in _GREY | _COLOUR:
            raise ImageFileError(f"{path}: its colours are {image.mode}; save it as RGB or grey")
        channels = 1 if image.mode in _GREY else 4
        refuse_larger(image.height * image.width * channels, path, held=pixels * channels)
        yield image


def _orientation(image: ImageFile) -> int:
    """1 to 8 (EXIF 2.3, tag 274). Unreadable EXIF says nothing, as in viewers."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow parses EXIF here and raises whatever its bytes cause
        return 1


def _geometry(image: ImageFile) -> Geometry:
    y, x = image.height, image.width
    return Geometry.plain_2d((x, y) if swaps_axes(_orientation(image)) else (y, x))


def _is_grey(image: ImageFile) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GREY


def _grey(image: ImageFile) -> np.ndarray:
    if image.mode in ("P", "PA"):
        return np.asarray(image.convert("L"))
    pixels = np.asarray(image if image.mode not in ("LA", "La") else image.getchannel(0))
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _is_deep(image: ImageFile) -> bool:
    """Whether the file holds several 16-bit channels, of which Pillow would silently keep 8 bits."""
    tiles = getattr(image, "tile", [])  # only images opened from a file have them
    return len(image.getbands()) > 1 and any(";16" in str(tile[3]) for tile in tiles)
