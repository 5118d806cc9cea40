"""Image files in and out. One module is one way to read; the ending, and for TIFF the content, chooses among them.

Every module offers ``read_header(path)``, ``read(path)`` (channels, z, y, x) and ``write(array, geometry, path)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import Geometry, Image
from ...core.names import short
from ...errors import DatasetError, ImageFileError
from . import natural_image, nifti, simpleitk, tiff3d
from ._grid import Difference, Header, differences

__all__ = [
    "ENDINGS", "Difference", "Header", "copy_grid", "differences", "ending_of", "label_ending", "read_header",
    "read_image", "read_labels", "split_channels", "write_channels", "write_labels", "write_voxels",
]  # fmt: skip

ENDINGS = (*simpleitk.ENDINGS, *natural_image.ENDINGS)
"""All endings that can be read."""


def ending_of(path: Path | str) -> str:
    """The image ending of a file name as it stands there (``.nii.gz`` counts as one).

    Raises ImageFileError for any other file.
    """
    name = Path(path).name
    for ending in ENDINGS:  # .nii.gz stands before .nii
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[-len(ending) :]
    raise ImageFileError(f"{path}: this kind of file cannot be read; known endings are {', '.join(ENDINGS)}")


def label_ending(ending: str) -> str:
    """``ending`` if label maps can be written with it, ``.nii.gz`` for example. Raises ValueError."""
    writable = [known for known in ENDINGS if known not in (".mhd", *natural_image.LOSSY)]
    if ending.lower() not in writable:
        raise ValueError(f"file_ending must be one of {', '.join(writable)}; found {short(ending)!r}")
    return ending


def read_header(path: Path) -> Header:
    """Geometry and number of channels, without reading voxels. Raises ImageFileError."""
    header: Header = _reader(path).read_header(path)
    return header


def read_image(paths: Sequence[Path]) -> Image:
    """One case: the channels of all its files in order, as float32, on the grid of the first.

    Raises ImageFileError for a file that cannot be read, DatasetError when the files lie on different grids.
    """
    arrays, geometry = [], None
    for path in paths:
        array, found = _reader(path).read(path)
        geometry = geometry or found
        wrong = [difference.what for difference in differences(geometry, found) if not difference.rounding]
        if wrong:
            raise DatasetError(f"{path}: not on the grid of {paths[0]}: {'; '.join(wrong)}. Resample one to the other")
        arrays.append(array)
    if geometry is None:
        raise ImageFileError("a case needs at least one image file")
    whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Image(np.ascontiguousarray(whole, np.float32), geometry)


def read_labels(path: Path) -> tuple[np.ndarray, Geometry]:
    """A label map (z, y, x) of whole numbers in an integer type, and its geometry.

    Floating point files are fine as long as every value is whole, colour files as long as all channels are equal.
    Raises ImageFileError otherwise.
    """
    reader = _reader(path)
    array, geometry = natural_image.read_labels(path) if reader is natural_image else reader.read(path)
    if len(array) > 1 and not all(np.array_equal(array[0], channel) for channel in array[1:]):
        raise ImageFileError(f"{path}: a label map has one value per voxel, this file has {len(array)} channels")
    return _whole_numbers(array[0], path), geometry


def write_labels(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes a label map (z, y, x) in the smallest integer type that holds its values (8 bits at least).

    The ending chooses the format. Raises ImageFileError when the file cannot be written or cannot hold the values.
    """
    low, high = int(array.min()), int(array.max())
    kinds: list[type[np.integer]] = [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32, np.int64]
    dtype = next(kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    _writer(path, geometry).write(np.ascontiguousarray(array, dtype), geometry, path)


def write_channels(array: np.ndarray, geometry: Geometry, path: Path, scale: float = 1.0) -> None:
    """Writes (channels, z, y, x), e.g. probabilities; ``read_image`` returns them times ``scale`` as channels.

    NIfTI keeps the array's type (uint8, uint16 or float32) and is written piece by piece. Raises ImageFileError for
    endings that cannot hold channels: use one of SimpleITK's, such as .nii.gz.
    """
    if ending_of(path).lower() not in simpleitk.ENDINGS or path.suffix == ".mhd":
        raise ImageFileError(f"{path}: this format cannot hold several channels of real numbers; write .nii.gz")
    if ending_of(path).lower() in nifti.ENDINGS:
        nifti.write_channels(array, geometry, path, scale)
    else:
        simpleitk.write(np.ascontiguousarray(array, np.float32) * np.float32(scale), geometry, path)


def write_voxels(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes one channel (z, y, x) in its own type to one of SimpleITK's formats. Raises ImageFileError."""
    simpleitk.write(np.ascontiguousarray(array), geometry, path)


def split_channels(source: Path, targets: Sequence[Path]) -> None:
    """Writes every channel of ``source`` as a file of its own; voxels keep their type.

    Raises ImageFileError when a file cannot be read or written, or has another number of channels than ``targets``.
    """
    array, geometry = _reader(source).read(source)
    if len(array) != len(targets):
        raise ImageFileError(f"{source}: has {len(array)} channels, expected {len(targets)}")
    for channel, target in zip(array, targets):
        write_voxels(channel, geometry, target)


def copy_grid(source: Path, target: Path) -> None:
    """Gives ``target`` the spacing, origin and direction of ``source``; its voxels stay bit-identical.

    Raises ImageFileError for formats whose headers hold no grid, and for a result that is not what was meant.
    """
    if ending_of(target).lower() in nifti.ENDINGS and nifti.copy_grid(source, target):
        return
    module, geometry = _reader(target), read_header(source).geometry
    if module is natural_image or target.suffix.lower() == ".mhd":
        raise ImageFileError(f"{target}: the grid in this kind of file cannot be replaced; convert it to .nii.gz")
    before, _ = module.read(target)
    with atomic_file(target) as temporary:
        module.write(before if len(before) > 1 else before[0], geometry, temporary)
        after, found = module.read(temporary)
        if after.dtype != before.dtype or not np.array_equal(after, before) or differences(geometry, found):
            raise ImageFileError(f"{target}: cannot be rewritten without changing voxels; it was left as it is")


def _reader(path: Path) -> ModuleType:
    ending = ending_of(path).lower()
    if ending in tiff3d.ENDINGS:
        return tiff3d if tiff3d.is_volume(path) else natural_image
    return next(module for module in (nifti, simpleitk, natural_image) if ending in module.ENDINGS)


def _writer(path: Path, geometry: Geometry) -> ModuleType:
    ending = ending_of(path).lower()
    if ending == ".mhd":
        raise ImageFileError(f"{path}: .mhd needs a second file for its voxels; write .mha, which is the same in one")
    if ending in natural_image.LOSSY:
        raise ImageFileError(f"{path}: JPEG changes label values; write .png")
    if ending in tiff3d.ENDINGS and geometry.dimensions == 3:
        return tiff3d
    return simpleitk if ending in simpleitk.ENDINGS else natural_image


def _whole_numbers(array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype.kind in "iu":
        return array
    # int32 holds every label anyone uses; comparing afterwards also catches NaN and what does not fit.
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int32)
    if not np.array_equal(whole, array):
        wrong = array[whole != array].flat[0]
        raise ImageFileError(
            f"{path}: a label map holds whole numbers, but this one holds {wrong}; export it as labels"
        )
    return whole
