"""Image files in and out. One module is one way to read; the ending, and for TIFF the content, chooses among them.

Every module offers ``read_header(path)``, ``read(path)`` (channels, z, y, x) and ``write(array, geometry, path)``, and
where labels differ from images ``read_labels(path)``. Nothing but ImageFileError and DatasetError leaves this package,
whatever the bytes of a file: ``refusals`` is the one place that sees to it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import Geometry, Image
from ...core.limits import refuse_larger
from ...core.names import short
from ...errors import DatasetError, ImageFileError
from . import natural_image, nifti, simpleitk, tiff
from ._grid import Difference, Header, differences, resampling, unlike
from ._guard import present, refusals

__all__ = [
    "ENDINGS", "Difference", "Header", "copy_grid", "copy_without_texts", "differences", "ending_of", "holds_channels",
    "label_ending", "read_file", "read_files", "read_header", "read_image", "read_labels", "refusals",
    "refuse_unwritable", "resampling", "split_channels", "unlike", "write_channels", "write_labels", "write_voxels",
]  # fmt: skip

LOG = logging.getLogger("autoseg")
ENDINGS = (*simpleitk.ENDINGS, *natural_image.ENDINGS, *tiff.ENDINGS)
"""All endings that can be read."""
LABEL_LEVEL = 6  # of gzip


ROUNDED = 2.0**-15
"""How far a label may lie from a whole number, as a share of it: scaling with 16 bits and float32 leave as much."""
_MOST_ROUNDED = 0.01
_SOLVED = {
    ".hdr": "it is half of a pair; make one .nii.gz of both, in Python: nibabel.save(nibabel.load(OLD), NEW)",
    ".img": "it is half of a pair; make one .nii.gz of both, in Python: nibabel.save(nibabel.load(OLD), NEW)",
    ".nhdr": "it is half of a pair; save it as one file, .nrrd",
    ".dcm": "`autoseg convert dicom` makes volumes of DICOM files",
}


def ending_of(path: Path | str) -> str:
    """The image ending of a file name as it stands there (``.nii.gz`` counts as one).

    Raises ImageFileError for any other file.
    """
    name = Path(path).name
    for ending in ENDINGS:  # .nii.gz stands before .nii
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[-len(ending) :]
    cure = _SOLVED.get(Path(path).suffix.lower(), f"known endings are {', '.join(ENDINGS)}")
    raise ImageFileError(f"{path}: this kind of file cannot be read; {cure}")


def label_ending(ending: str) -> str:
    """``ending`` if label maps can be written with it, ``.nii.gz`` for example. Raises ValueError."""
    writable = [known for known in ENDINGS if known not in (".mhd", *natural_image.LOSSY)]
    if ending.lower() not in writable:
        raise ValueError(f"file_ending must be one of {', '.join(writable)}; found {short(ending)!r}")
    return ending


def read_header(path: Path) -> Header:
    """Geometry and number of channels, without reading voxels. Raises ImageFileError."""
    with refusals(path):
        header: Header = _reader(path).read_header(path)
    return header


def read_image(paths: Sequence[Path]) -> Image:
    """The channels of all files in order, as float32, on the grid of the first. Raises as ``read_files``."""
    arrays, geometry = read_files(paths)
    with refusals(paths[0]):
        whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return Image(np.ascontiguousarray(whole, np.float32), geometry)


def read_file(path: Path) -> tuple[np.ndarray, Geometry]:
    """The voxels (channels, z, y, x) of a file as they are stored, and their grid. Raises ImageFileError."""
    with refusals(path):
        found: tuple[np.ndarray, Geometry] = _reader(path).read(path)
    return found


def read_files(paths: Sequence[Path]) -> tuple[list[np.ndarray], Geometry]:
    """The voxels (channels, z, y, x) of every file of a case as they are stored, and their one grid.

    Raises ImageFileError for a file that cannot be read, DatasetError when the files lie on different grids.
    """
    arrays, geometry = [], None
    for path in paths:
        with refusals(path):
            if geometry is not None:  # before anything is unpacked that cannot be used
                found = _reader(path).read_header(path).geometry
                if wrong := unlike(geometry, found):
                    raise DatasetError(
                        f"{path}: not on the grid of {paths[0]}: {'; '.join(wrong)}. Resample one to the other, "
                        f"{resampling(nearest=False)}"
                    )
            array, found = _reader(path).read(path)
            geometry = geometry or found
            arrays.append(array)
    if geometry is None:
        raise ImageFileError("a case needs at least one image file")
    with refusals(paths[0]):
        refuse_larger(sum(array.size for array in arrays) * np.dtype(np.float32).itemsize, paths[0])
    return arrays, geometry


def read_labels(path: Path) -> tuple[np.ndarray, Geometry]:
    """A label map (z, y, x) of whole numbers in an integer type, and its geometry.

    Floating point files are fine as long as every value is whole, up to rounding; colour files as long as all channels
    are equal. Raises ImageFileError otherwise.
    """
    with refusals(path):
        reader = _reader(path)
        array, geometry = getattr(reader, "read_labels", reader.read)(path)
        if len(array) > 1 and not all(np.array_equal(array[0], channel) for channel in array[1:]):
            raise ImageFileError(f"{path}: a label map has one value per voxel, this file has {len(array)} channels")
        return _whole_numbers(array[0], path), geometry


def refuse_unwritable(path: Path, geometry: Geometry) -> None:
    """Raises ImageFileError where the ending of a label map cannot hold this grid, before it was made."""
    if _writer(path, geometry) is natural_image and geometry.shape[0] > 1:
        raise ImageFileError(
            f"{path.name}: a volume of {geometry.shape[0]} slices does not fit into {path.suffix}, which holds 2-D "
            "images, as those that the model was trained on; give its slices one by one, as 2-D images"
        )


def write_labels(array: np.ndarray, geometry: Geometry, path: Path, like: Path | None = None) -> None:
    """Writes a label map (z, y, x) in the smallest integer type that holds its values (8 bits at least).

    The ending chooses the format. ``like`` is the file of the image: where both are NIfTI, all that its header says
    about the grid is taken over, so that every viewer, whichever transform it reads, shows one on the other. Raises
    ImageFileError when the file cannot be written or cannot hold the values.
    """
    low, high = int(array.min()), int(array.max())
    kinds: list[type[np.integer]] = [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32, np.int64]
    dtype = next(kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    array = np.ascontiguousarray(array, dtype)
    with refusals(path, "written"):
        if not _written_like(like, array, geometry, path, level=LABEL_LEVEL):
            _writer(path, geometry).write(array, geometry, path)


def holds_channels(path: Path) -> bool:
    """Whether ``write_channels`` can write a file of this name."""
    return ending_of(path).lower() in simpleitk.ENDINGS and path.suffix != ".mhd"


def write_channels(
    array: np.ndarray, geometry: Geometry, path: Path, scale: float = 1.0, like: Path | None = None
) -> None:
    """Writes (channels, z, y, x), e.g. probabilities; ``read_image`` returns them times ``scale`` as channels.

    NIfTI keeps the array's type (uint8, uint16 or float32) and is written piece by piece; other formats keep it for
    ``scale`` 1. ``like`` as in
    ``write_labels``. Raises ImageFileError for endings that cannot hold channels: use one of SimpleITK's, such as
    .nii.gz.
    """
    if not holds_channels(path):
        raise ImageFileError(f"{path}: this format cannot hold several channels of real numbers; write .nii.gz")
    with refusals(path, "written"):
        if _written_like(like, array, geometry, path, scale):
            return
        if ending_of(path).lower() in nifti.ENDINGS:
            nifti.write_voxels(array, geometry, path, scale)
        else:
            simpleitk.write(array if scale == 1 else array.astype(np.float32) * np.float32(scale), geometry, path)


def write_voxels(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes one channel (z, y, x) in its own type to one of SimpleITK's formats. Raises ImageFileError."""
    with refusals(path, "written"):
        simpleitk.write(np.ascontiguousarray(array), geometry, path)


def split_channels(source: Path, targets: Sequence[Path]) -> None:
    """Writes every channel of ``source`` as a file of its own; voxels keep their type, NIfTI files their grid.

    Raises ImageFileError when a file cannot be read or written, or has another number of channels than ``targets``.
    """
    with refusals(source):
        array, geometry = _reader(source).read(source)
    if len(array) != len(targets):
        raise ImageFileError(f"{source}: has {len(array)} channels, expected {len(targets)}")
    for channel, target in zip(array, targets):
        with refusals(target, "written"):
            if not _written_like(source, channel, geometry, target, level=LABEL_LEVEL):
                simpleitk.write(np.ascontiguousarray(channel), geometry, target)


def copy_without_texts(source: Path, target: Path) -> None:
    """Makes ``target``, a NIfTI file, of another one: voxels, their type and the grid stay bit-identical, descriptions,
    extensions and everything else that the header or the end of ``source`` may hold are left out.

    Raises ImageFileError for a damaged or truncated file.
    """
    with refusals(source):
        nifti.copy_without_texts(source, target)


def copy_grid(source: Path, target: Path) -> None:
    """Gives ``target`` the spacing, origin and direction of ``source``; its voxels stay bit-identical.

    Raises ImageFileError for formats whose headers hold no grid, and for a result that is not what was meant.
    """
    with refusals(target):
        if {_reader(source), _reader(target)} == {nifti} and nifti.copy_grid(source, target):
            return
        module, geometry = _reader(target), read_header(source).geometry
        if module is natural_image or target.suffix.lower() == ".mhd" or (module is tiff and geometry.dimensions == 2):
            raise ImageFileError(f"{target}: the grid in this kind of file cannot be replaced; convert it to .nii.gz")
        before, _ = module.read(target)
        with atomic_file(target) as temporary:
            module.write(before if len(before) > 1 else before[0], geometry, temporary)
            after, found = module.read(temporary)
            if after.dtype != before.dtype or not np.array_equal(after, before) or differences(geometry, found):
                raise ImageFileError(f"{target}: cannot be rewritten without changing voxels; it was left as it is")


def _written_like(
    like: Path | None, array: np.ndarray, geometry: Geometry, path: Path, scale: float = 1.0, level: int = 1
) -> bool:
    """Whether it has been written with the grid of ``like``: both have to be NIfTI."""
    if like is None or not {ending_of(path).lower(), ending_of(like).lower()} <= set(nifti.ENDINGS):
        return False
    try:
        return nifti.write_like(like, array, geometry, path, scale, level)
    except FileNotFoundError:
        LOG.warning("%s: is gone, so %s gets no more of its header than its grid", like, path.name)
        return False


def _reader(path: Path) -> ModuleType:
    """The module for a file that is there."""
    ending = ending_of(path).lower()
    present(path)
    return next(module for module in (nifti, simpleitk, natural_image, tiff) if ending in module.ENDINGS)


def _writer(path: Path, geometry: Geometry) -> ModuleType:
    ending = ending_of(path).lower()
    if ending == ".mhd":
        raise ImageFileError(f"{path}: .mhd needs a second file for its voxels; write .mha, which is the same in one")
    if ending in natural_image.LOSSY:
        raise ImageFileError(f"{path}: JPEG changes label values; write .png")
    if ending in tiff.ENDINGS and geometry.dimensions == 3:
        return tiff
    return simpleitk if ending in simpleitk.ENDINGS else natural_image


def _whole_numbers(array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype.kind in "iu":
        return array
    # int32 holds every label anyone uses; comparing afterwards also catches NaN and what does not fit.
    whole = array.astype(np.int32)
    if np.array_equal(whole, array):
        return whole
    nearest = np.rint(array)
    whole = nearest.astype(np.int32)
    near = np.abs(array - nearest) <= np.minimum(ROUNDED * np.maximum(1, np.abs(nearest)), _MOST_ROUNDED)
    if not near.all():
        raise ImageFileError(
            f"{path}: a label map holds whole numbers, but this one holds {array[~near].flat[0]}; save it with an "
            "integer type, and resample label maps with nearest neighbour"
        )
    if (whole != nearest).any():
        raise ImageFileError(
            f"{path}: holds the value {nearest[whole != nearest].flat[0]:.17g}, too large for a label; is this an "
            "image and not a label map?"
        )
    return whole
