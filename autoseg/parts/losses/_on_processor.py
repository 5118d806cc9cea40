"""Maps that scipy and scikit-image make of masks on the processor, also when the network trains on a GPU.

Of tensors without data, on which memory is counted, only the size of a map is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects
from skimage.morphology import skeletonize
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

TUBE = 2  # voxels, face to face, by which a skeleton is made thicker


def signed_distances(masks: Tensor, spacing: Sequence[float]) -> Tensor:
    """(B, heads, *patch) float32, mm: outside the mask the distance to its nearest voxel; inside, negative, that to the
    nearest voxel outside, less the shortest edge of a voxel, so that it is 0 on the border's inner voxels.

    0 everywhere for a mask that is on nowhere or everywhere in its patch: there is no border.
    """
    shortest = min(spacing)

    def of_mask(mask: np.ndarray) -> np.ndarray:
        outward = distance_transform_edt(~mask, spacing)
        return np.where(mask, shortest - distance_transform_edt(mask, spacing), outward)

    return _distances(masks, of_mask)


def border_distances(masks: Tensor, spacing: Sequence[float]) -> Tensor:
    """(B, heads, *patch) float32, mm: from each voxel to the nearest on the other side of the mask's border; else 0."""

    def of_mask(mask: np.ndarray) -> np.ndarray:
        return np.where(mask, distance_transform_edt(mask, spacing), distance_transform_edt(~mask, spacing))

    return _distances(masks, of_mask)


def tubed_skeletons(masks: Tensor) -> Tensor:
    """(B, heads, *patch) bool: of each mask its skeleton, made thicker by two voxels but not beyond the mask.

    Some masks have none: scikit-image thins sheets and blocks away.
    """

    def of_mask(mask: np.ndarray) -> np.ndarray:
        tube = np.zeros_like(mask)
        (found,) = find_objects(mask.view(np.uint8))
        box = tuple(slice(max(0, edge.start - 1), edge.stop + 1) for edge in found)  # an edge of 1 is none to it
        inside = np.ascontiguousarray(mask[box])  # older scikit-image reads nothing else
        tube[box] = binary_dilation(skeletonize(inside), iterations=TUBE) & inside
        return tube

    return _of_each(masks, of_mask, torch.bool)


def _distances(masks: Tensor, of_mask: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    if masks.device.type == "cpu":
        # What scipy takes beside torch, so that it is counted: for a voxel and axis the nearest voxel as int32, the way
        # to it as int32 and as float64, and for a voxel its distances on both sides.
        torch.empty(masks[0, 0].numel() * (16 * (masks.dim() - 2) + 16), dtype=torch.uint8)
    return _of_each(masks, lambda mask: ~mask if mask.all() else of_mask(mask), torch.float32)


def _of_each(masks: Tensor, of_mask: Callable[[np.ndarray], np.ndarray], kind: torch.dtype) -> Tensor:
    """The maps of all masks that are on somewhere; 0 for the others."""
    if isinstance(masks, FakeTensor):
        return torch.empty_like(masks, dtype=kind)
    given, maps = masks.cpu().numpy(), torch.zeros(masks.shape, dtype=kind)
    for place in np.ndindex(given.shape[:2]):
        if given[place].any():
            maps.numpy()[place] = of_mask(given[place])
    return maps.to(masks.device)
