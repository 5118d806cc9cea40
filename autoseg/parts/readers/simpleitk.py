"""NRRD, MetaImage, GIPL and rarer kinds of NIfTI, read and written with SimpleITK; 2-D and 3-D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import SLICE_SPACING_2D, Geometry
from ...errors import ImageFileError
from ._grid import Header, orthonormal

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl")
GIPL_HEADER_BYTES = 256


def read_header(path: Path) -> Header:
    """Raises ImageFileError when the header cannot be read."""
    return _header(_reader(path), path)


def read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels (channels, z, y, x) in the file's own type, and their geometry. Raises ImageFileError."""
    import SimpleITK as sitk

    reader = _reader(path)
    header = _header(reader, path)
    _refuse_short_gipl(path, reader)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(path, error) from None
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    return array.reshape(header.channels, *header.geometry.shape), header.geometry


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
        raise ImageFileError(f"{path}: cannot be written ({_last_line(error)})") from None


def place(image: Any, geometry: Geometry) -> None:
    """Gives a SimpleITK image this geometry; a further dimension (channels) gets unit spacing."""
    n, further = geometry.dimensions, image.GetDimension() - geometry.dimensions
    direction = np.eye(n + further)
    direction[:n, :n] = np.array(geometry.direction).reshape(n, n)
    image.SetSpacing(geometry.spacing[::-1][:n] + (1.0,) * further)
    image.SetOrigin(geometry.origin + (0.0,) * further)
    image.SetDirection(direction.ravel().tolist())


def unreadable(path: Path, error: Exception) -> ImageFileError:
    """The error to raise when a library gave up on a file."""
    return ImageFileError(
        f"{path}: cannot be read, it is damaged, incomplete or of another format ({_last_line(error)}). "
        "Copy or export it again"
    )


def _reader(path: Path) -> Any:
    import SimpleITK as sitk

    if not path.is_file():
        raise ImageFileError(f"{path}: there is no such file")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(path, error) from None
    return reader


def _header(reader: Any, path: Path) -> Header:
    size, dimensions = reader.GetSize(), reader.GetDimension()
    n = min(dimensions, 3)
    further = [length for length in size[3:] if length > 1]
    components = reader.GetNumberOfComponents()
    if dimensions < 2 or len(further) + (components > 1) > 1:
        raise ImageFileError(
            f"{path}: has axes {size} with {components} values per voxel; expected a 2-D or 3-D image, "
            "with at most one further axis for the channels"
        )
    direction = np.array(reader.GetDirection()).reshape(dimensions, dimensions)[:n, :n]
    direction = orthonormal(direction, str(path))
    x, y, *z = reader.GetSpacing()[:n]
    columns, rows, *slices = size[:n]
    geometry = Geometry(
        shape=(slices[0] if slices else 1, rows, columns),
        spacing=(z[0] if z else SLICE_SPACING_2D * max(x, y), y, x),
        origin=tuple(reader.GetOrigin()[:n]),
        direction=tuple(direction.ravel().tolist()),
    )
    return Header(geometry, components if components > 1 else (further or [1])[0])


def _refuse_short_gipl(path: Path, reader: Any) -> None:
    """ITK fills the missing end of a truncated GIPL file with whatever is in memory and reports nothing."""
    import SimpleITK as sitk

    if path.suffix.lower() != ".gipl":
        return
    bytes_per_voxel = sitk.GetArrayFromImage(sitk.Image([1, 1], reader.GetPixelID())).itemsize
    expected = GIPL_HEADER_BYTES + int(np.prod(reader.GetSize())) * bytes_per_voxel
    if path.stat().st_size < expected:
        raise unreadable(path, ValueError(f"{path.stat().st_size} bytes, its header announces {expected}"))


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
