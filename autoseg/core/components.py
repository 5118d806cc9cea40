"""Connected components by cc3d, which numbers them in a sixth of SciPy's time.

Sizes and what goes are found a piece at a time: acvl-utils itself counts in 64-bit copies of the whole volume.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from .geometry import bounding_slices

VOXELS = 1 << 18  # counted at a time: counting makes 64-bit numbers of them
Connectivity = Literal[4, 6, 8, 26]
FACES: dict[int, Connectivity] = {2: 4, 3: 6}  # what cc3d calls it when voxels that share a face belong together
CORNERS: dict[int, Connectivity] = {2: 8, 3: 26}  # or a face, an edge or a corner


def without(mask: np.ndarray, unwanted: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The mask without some of its components; ``unwanted`` is given their sizes in voxels and says which go."""
    box = bounding_slices(mask)
    if box is None:
        return mask
    numbered = components(mask[box])
    sizes = sizes_of(numbered)
    stays = np.zeros(len(sizes), bool)  # 0 is the background
    stays[1:] = ~unwanted(sizes[1:])
    if stays[1:].all():
        return mask
    kept = mask.copy()
    for part, numbers in zip(kept[box], numbered):
        part[...] = np.take(stays, numbers, mode="clip")  # no number is too large, and the default would look for one
    return kept


def sizes_of(numbered: np.ndarray) -> np.ndarray:
    """Voxels of 0, 1, ... in what ``components`` gives."""
    flat = numbered.reshape(-1)
    sizes = np.zeros(int(flat.max()) + 1, np.int64)
    for start in range(0, flat.size, VOXELS):
        sizes += np.bincount(flat[start : start + VOXELS], minlength=len(sizes))
    return sizes


def without_holes(mask: np.ndarray) -> np.ndarray:
    """The mask and the background that it encloses: from there no way through faces leads out of the image."""
    around = np.ones([size + 2 for size in mask.shape], bool)
    inside = (slice(1, -1),) * mask.ndim
    np.logical_not(mask, out=around[inside])
    numbered = components(around, FACES)
    filled: np.ndarray = numbered[inside] != numbered.flat[0]
    return filled


def components(mask: np.ndarray, connectivity: dict[int, Connectivity] = CORNERS) -> np.ndarray:
    """Numbers from 1, unsigned, in the order of the axes of the mask; 0 outside of it.

    cc3d 4.1.1 must be asked with care: it forgets single pixels of 2-D bool arrays (and takes twice the memory for any
    bool array), and reads what lies between the voxels of a view along one axis.
    """
    from cc3d import connected_components

    whole = np.ascontiguousarray(mask).view(np.uint8)
    numbered: np.ndarray = connected_components(whole, connectivity=connectivity[mask.ndim])
    return numbered
