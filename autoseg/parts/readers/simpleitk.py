"""NRRD, MetaImage, GIPL, read and written with SimpleITK; 2-D and 3-D. It writes NIfTI, too."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import SLICE_SPACING_2D, Geometry
from ...core.limits import refuse_larger
from ...errors import ImageFileError
from ._grid import Header, orthonormal
from ._guard import silence, unreadable
from ._voxel_files import Stream, Voxels, voxels_of

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl")
_READERS = {
    ".nrrd": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO", ".gipl": "GiplImageIO",
    ".nii": "NiftiImageIO", ".png": "PNGImageIO", ".tif": "TIFFImageIO", ".tiff": "TIFFImageIO",
}  # fmt: skip
"""By ending: without, ITK would let any of its readers try that likes the content."""


def read_header(path: Path) -> Header:
    """Raises ImageFileError when the header cannot be read."""
    return _opened(path)[1]


def read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels (channels, z, y, x) in the file's own type, and their geometry. Raises ImageFileError."""
    reader, header, voxels = _opened(path)
    if voxels.stream is not None:
        array = _unpacked(voxels.stream, reader, path)
    else:
        with silence():
            array = _array(reader.Execute())
    return array.reshape(header.channels, *header.geometry.shape), header.geometry


def read_picture(path: Path, ending: str) -> np.ndarray:
    """Voxels (channels, z, y, x) of a PNG or TIFF whose size has been judged already."""
    with silence():
        image = _reader(path, ending).Execute()
    columns, rows, *slices = image.GetSize()
    return _array(image).reshape(image.GetNumberOfComponentsPerPixel(), *(slices or [1]), rows, columns)


def geometry_of_single_voxel(single: Path, shape: tuple[int, int, int], path: Path) -> Geometry:
    """The geometry that ITK gives ``single``, a file of one voxel, with another ``shape`` and named as ``path``."""
    reader = _reader(single, ".nii")
    return _geometry(reader, (*shape[::-1], 1, 1)[: reader.GetDimension()], path)


def write(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes (z, y, x), or (channels, z, y, x) as a 4-D (of 2-D images: a vector) file. Raises ImageFileError."""
    import SimpleITK as sitk

    spatial = geometry.dimensions
    if spatial == 2:
        array = array[..., 0, :, :]
    if array.ndim == 3 and spatial == 2:
        image = sitk.GetImageFromArray(np.moveaxis(array, 0, -1), isVector=True)
    else:
        image = sitk.GetImageFromArray(array, isVector=False)
    place(image, geometry)
    try:
        with atomic_file(path) as temporary:
            sitk.WriteImage(image, str(temporary), useCompression=path.suffix != ".nii")
    except (RuntimeError, OSError) as error:
        raise ImageFileError(f"{path}: cannot be written ({str(error).strip().splitlines()[-1].strip()})") from None


def place(image: Any, geometry: Geometry) -> None:
    """Gives a SimpleITK image this geometry; a further dimension (channels) gets unit spacing."""
    n, further = geometry.dimensions, image.GetDimension() - geometry.dimensions
    direction = np.eye(n + further)
    direction[:n, :n] = np.array(geometry.direction).reshape(n, n)
    image.SetSpacing(geometry.spacing[::-1][:n] + (1.0,) * further)
    image.SetOrigin(geometry.origin + (0.0,) * further)
    image.SetDirection(direction.ravel().tolist())


def _opened(path: Path) -> tuple[Any, Header, Voxels]:
    voxels = voxels_of(path)
    reader = _reader(path, path.suffix.lower())
    header = _header(reader, path)
    needed = _count(reader) * _dtype(reader, path).itemsize
    _refuse_short(needed, voxels, path)
    refuse_larger(needed, path, held=voxels.most)
    return reader, header, voxels


def _refuse_short(needed: int, voxels: Voxels, path: Path) -> None:
    """ITK fills the missing end of a truncated GIPL file with whatever is in memory and reports nothing."""
    if not voxels.packed and voxels.most < needed:
        raise unreadable(path, ValueError(f"{voxels.most} bytes of voxels, its header announces {needed}"))


def _reader(path: Path, ending: str) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS[ending])
    reader.SetFileName(str(path))
    with silence():
        reader.ReadImageInformation()
    return reader


def _count(reader: Any) -> int:
    """Values in the whole file."""
    return math.prod(reader.GetSize()) * int(reader.GetNumberOfComponents())


def _dtype(reader: Any, path: Path) -> np.dtype:
    """Of one value of a voxel."""
    import SimpleITK as sitk

    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    match = re.search(r"(8|16|32|64)-bit (unsigned|signed|float)", kind)
    if match is None or "complex" in kind:
        raise ImageFileError(f"{path}: holds {kind or 'unknown numbers'}; save it with real numbers, say float32")
    return np.dtype({"unsigned": "u", "signed": "i", "float": "f"}[match[2]] + str(int(match[1]) // 8))


def _unpacked(stream: Stream, reader: Any, path: Path) -> np.ndarray:
    """As ``_array`` has it."""
    values = stream.unpacked(_dtype(reader, path), _count(reader))
    components = int(reader.GetNumberOfComponents())
    return np.ascontiguousarray(values.reshape(-1, components).T) if components > 1 else values


def _array(image: Any) -> np.ndarray:
    import SimpleITK as sitk

    array: np.ndarray = sitk.GetArrayFromImage(image)
    return np.moveaxis(array, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else array


def _header(reader: Any, path: Path) -> Header:
    size, dimensions = reader.GetSize(), reader.GetDimension()
    further = [length for length in size[3:] if length > 1]
    components = reader.GetNumberOfComponents()
    if dimensions < 2 or len(further) + (components > 1) > 1 or min(size) < 1:
        raise ImageFileError(
            f"{path}: has axes {size} with {components} values per voxel; expected a 2-D or 3-D image, "
            "with at most one further axis for the channels"
        )
    return Header(_geometry(reader, size, path), components if components > 1 else (further or [1])[0])


def _geometry(reader: Any, size: tuple[int, ...], path: Path) -> Geometry:
    dimensions = reader.GetDimension()
    n = min(dimensions, 3)
    direction = np.array(reader.GetDirection()).reshape(dimensions, dimensions)[:n, :n]
    spacing = np.array(reader.GetSpacing()[:n])
    direction = orthonormal(direction * np.where(spacing < 0, -1.0, 1.0), str(path))  # ITK turns the axis when it reads
    x, y, *z = np.abs(spacing).tolist()
    columns, rows, *slices = size[:n]
    return Geometry(
        shape=(slices[0] if slices else 1, rows, columns),
        spacing=(z[0] if z else SLICE_SPACING_2D * max(x, y), y, x),
        origin=tuple(reader.GetOrigin()[:n]),
        direction=tuple(direction.ravel().tolist()),
    )
