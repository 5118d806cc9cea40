"""The voxels of a case: all channels on one grid."""

from __future__ import annotations

import numpy as np

from ..core.geometry import Image
from ..errors import DatasetError
from ..parts.readers import read_files
from .dataset import Case, ImageSource


def read_case(case: Case) -> Image:
    """All channels of ``case`` as float32, on the grid of its first file; those that it lacks are 0.

    Raises ImageFileError for a file that cannot be read, DatasetError when the files lie on different grids or one
    holds other channels than the case needs of it.
    """
    files = case.image_files
    arrays, geometry = read_files(files)
    held = dict(zip(map(str, files), arrays))
    if case.images == ImageSource.all_of(files[0], len(arrays[0])):  # as most are: then nothing is copied
        return Image(np.ascontiguousarray(arrays[0], np.float32), geometry)
    whole = np.zeros((len(case.images), *geometry.shape), np.float32)
    for target, source in zip(whole, case.images):
        if source is not None:
            target[...] = _channel(held[source.file], source)
    return Image(whole, geometry, case.absent)


def _channel(array: np.ndarray, source: ImageSource) -> np.ndarray:
    """(z, y, x) of the file's channels."""
    if len(array) <= (source.channel or 0) or (source.channel is None and len(array) > 1):
        wanted = "one" if source.channel is None else f"number {source.channel}, counted from 0"
        raise DatasetError(f"{source.file}: holds {len(array)} channels, but the case needs {wanted}")
    found: np.ndarray = array[source.channel or 0]
    return found
