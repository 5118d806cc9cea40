"""PNG, BMP, JPEG and 2-D TIFF, read and written with Pillow. One pixel is 1 x 1 mm; colours are channels.

Alpha is dropped. A palette is resolved to grey or colour for images; see ``read_labels`` for label maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import Geometry
from ...errors import ImageFileError
from . import simpleitk
from ._grid import Header

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

ENDINGS = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")
_GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}


def read_header(path: Path) -> Header:
    """Raises ImageFileError when Pillow cannot read the file."""
    with _open(path) as image:
        return Header(Geometry.plain_2d((image.height, image.width)), 1 if _is_grey(image) else 3)


def read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Pixels (channels, 1, y, x) in the file's own type, and their geometry. Raises ImageFileError."""
    with _open(path) as image:
        if _is_deep(image):
            return simpleitk.read(path)[0][: 1 if _is_grey(image) else 3], _geometry(image)
        try:
            pixels = _grey(image) if _is_grey(image) else np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:  # SyntaxError is Pillow's word for a broken PNG chunk
            raise simpleitk.unreadable(path, error) from None
        pixels = pixels.reshape(image.height, image.width, -1)
        return np.moveaxis(pixels, -1, 0)[:, None], _geometry(image)


def read_labels(path: Path) -> tuple[np.ndarray, Geometry]:
    """Like ``read``, but a palette of colours stands for its indices: that is how label maps use it.

    Refuses JPEG, whose compression changes label values.
    """
    if path.suffix.lower() in LOSSY:
        raise ImageFileError(f"{path}: JPEG changes values when it compresses; save label maps as PNG")
    with _open(path) as image:
        if image.mode in ("P", "PA") and not _is_grey(image):
            try:
                return np.asarray(image.getchannel(0))[None, None], _geometry(image)
            except (OSError, ValueError, SyntaxError) as error:
                raise simpleitk.unreadable(path, error) from None
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


def _open(path: Path) -> PillowImage:
    from PIL import Image as Pillow

    if not path.is_file():
        raise ImageFileError(f"{path}: there is no such file")
    try:
        return Pillow.open(path)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise simpleitk.unreadable(path, error) from None


def _geometry(image: PillowImage) -> Geometry:
    return Geometry.plain_2d((image.height, image.width))


def _is_grey(image: PillowImage) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GREY


def _grey(image: PillowImage) -> np.ndarray:
    if image.mode in ("P", "PA"):
        return np.asarray(image.convert("L"))
    pixels = np.asarray(image if image.mode not in ("LA", "La") else image.getchannel(0))
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _is_deep(image: PillowImage) -> bool:
    """Whether the file holds several 16-bit channels, of which Pillow would silently keep 8 bits."""
    tiles = getattr(image, "tile", [])  # only images opened from a file have them
    return len(image.getbands()) > 1 and any(";16" in str(tile[3]) for tile in tiles)
