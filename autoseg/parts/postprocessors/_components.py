"""Connected components, looked for only in the box that holds the mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

VOXELS = 1 << 20  # counted at a time: counting makes 64-bit numbers of them


def box_of(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds every voxel of the mask; None for an empty one."""
    box = []
    for axis in range(mask.ndim):
        hits = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not hits.size:
            return None
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(box)


def without(mask: np.ndarray, unwanted: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The mask without some of its components; ``unwanted`` is given their sizes in voxels and says which go."""
    from scipy.ndimage import label

    box = box_of(mask)
    if box is None:
        return mask
    components, count = label(mask[box], np.ones((3,) * mask.ndim))
    gone, sizes = np.zeros(count + 1, bool), np.zeros(count + 1, np.int64)
    flat = components.reshape(-1)
    for start in range(0, flat.size, VOXELS):
        sizes += np.bincount(flat[start : start + VOXELS], minlength=count + 1)
    gone[1:] = unwanted(sizes[1:])
    if not gone.any():
        return mask
    kept = mask.copy()
    for part, numbers in zip(kept[box], components):
        part &= ~gone[numbers]
    return kept
