"""The voxels of a case: all channels on one grid."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from ..alignment.record import Alignment, Registration
from ..alignment.reference import Reference
from ..core.geometry import Image
from ..core.limits import refuse_larger
from ..errors import DatasetError
from ..parts.readers import read_file, read_files
from .dataset import Case, ImageSource

LOG = logging.getLogger("autoseg")


def read_case(case: Case, alignment: Alignment | None = None) -> Image:
    """All channels of ``case`` as float32, on the grid of ``case.grid_file(alignment)``; those that it lacks are 0.

    Without ``alignment`` its files have to lie on one grid. Channels that are registered and were not before are
    registered now, and those that stay where their header puts them are told. Raises ImageFileError for a file that
    cannot be read, DatasetError when the files lie on different grids, cannot be aligned, or one holds other channels
    than the case needs of it.
    """
    image, registrations = read_aligned(case, alignment)
    for number, found in enumerate(registrations if registrations != case.registrations else ()):
        if found is not None and not found.used:
            LOG.warning("case %s: channel %d stays where its header puts it: %s", case.key, number, found.told)
    return image


def read_aligned(case: Case, alignment: Alignment | None) -> tuple[Image, tuple[Registration | None, ...]]:
    """``read_case``, and how each channel was registered; empty where that is not asked for."""
    files = case.image_files
    if alignment is not None and (len(files) > 1 or alignment.registers):
        return _aligned(case, alignment)
    arrays, geometry = read_files(files)
    held = dict(zip(map(str, files), arrays))
    if case.images == ImageSource.all_of(files[0], len(arrays[0])):  # as most are: then nothing is copied
        return Image(np.ascontiguousarray(arrays[0], np.float32), geometry), ()
    whole = np.zeros((len(case.images), *geometry.shape), np.float32)
    for target, source in zip(whole, case.images):
        if source is not None:
            target[...] = _channel(held[source.file], source)
    return Image(whole, geometry, case.absent), ()


def _aligned(case: Case, alignment: Alignment) -> tuple[Image, tuple[Registration | None, ...]]:
    """File by file, so that no more than one is in memory beside what is made of all."""
    first, path = case.reference(alignment), case.grid_file(alignment)
    array, geometry = read_file(path)
    shape = (len(case.images), *geometry.shape)
    refuse_larger(int(np.prod(shape)) * np.dtype(np.float32).itemsize, path)
    whole = np.zeros(shape, np.float32)
    registrations: list[Registration | None] = [None] * len(case.images)
    known = case.registrations or registrations
    source = case.images[first]
    assert source is not None
    whole[first] = _channel(array, source)
    reference = Reference(whole[first], geometry, alignment)
    for file in (path, *(other for other in case.image_files if other != path)):
        found, grid = (array, geometry) if file == path else read_file(file)
        for number, source in enumerate(case.images):
            if source is None or number == first or Path(source.file) != file:
                continue
            try:
                whole[number], registrations[number] = reference.aligned(_channel(found, source), grid, known[number])
            except DatasetError as error:
                said = str(error)
                raise DatasetError(said if said.startswith(source.file) else f"{file}: {said}") from None
    return Image(whole, geometry, case.absent), tuple(registrations) if alignment.registers else ()


def _channel(array: np.ndarray, source: ImageSource) -> np.ndarray:
    """(z, y, x) of the file's channels."""
    if len(array) <= (source.channel or 0) or (source.channel is None and len(array) > 1):
        wanted = "one" if source.channel is None else f"number {source.channel}, counted from 0"
        raise DatasetError(f"{source.file}: holds {len(array)} channels, but the case needs {wanted}")
    found: np.ndarray = array[source.channel or 0]
    return found
