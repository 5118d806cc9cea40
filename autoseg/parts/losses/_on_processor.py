"""Maps that scipy and scikit-image make of masks on the processor, also when the network trains on a GPU.

They are operations of torch, so that memory is counted with them where tensors have a shape and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects
from skimage.morphology import skeletonize
from torch import Tensor

TUBE = 2  # voxels, face to face, by which a skeleton is made thicker
_ON_MASKS = "(Tensor masks, float[] spacing) -> Tensor"


def signed_distances(masks: Tensor, spacing: Sequence[float]) -> Tensor:
    """(B, heads, *patch) float32, mm: outside the mask the distance to its nearest voxel; inside, negative, that to the
    nearest voxel outside, less the shortest edge of a voxel, so that it is 0 on the border's inner voxels.

    0 everywhere for a mask that is on nowhere or everywhere in its patch: there is no border.
    """
    _touch_working_memory(masks)
    found: Tensor = _signed_distances(masks, list(spacing))
    return found


def border_distances(masks: Tensor, spacing: Sequence[float]) -> Tensor:
    """(B, heads, *patch) float32, mm: from each voxel to the nearest on the other side of the mask's border; else 0."""
    _touch_working_memory(masks)
    found: Tensor = _border_distances(masks, list(spacing))
    return found


def tubed_skeletons(masks: Tensor) -> Tensor:
    """(B, heads, *patch) bool: of each mask its skeleton, made thicker by two voxels but not beyond the mask."""
    found: Tensor = _tubed_skeletons(masks)
    return found


def _touch_working_memory(masks: Tensor) -> None:
    """What scipy takes for the map of one mask, it takes beside torch: so it is counted with what torch takes.

    Per voxel and axis the nearest voxel as int32, the way to it as int32 and as float64; what there is of each voxel.
    """
    if masks.device.type == "cpu":
        torch.empty(masks[0, 0].numel() * (16 * (masks.dim() - 2) + 16), dtype=torch.uint8)


@torch.library.custom_op("autoseg::signed_distances", mutates_args=(), schema=_ON_MASKS)
def _signed_distances(masks: Tensor, spacing: list[float]) -> Tensor:
    shortest = min(spacing)

    def of_mask(mask: np.ndarray) -> np.ndarray:
        outward = distance_transform_edt(~mask, spacing)
        return np.where(mask, shortest - distance_transform_edt(mask, spacing), outward)

    return _of_each(masks, of_mask, np.float32)


@torch.library.custom_op("autoseg::border_distances", mutates_args=(), schema=_ON_MASKS)
def _border_distances(masks: Tensor, spacing: list[float]) -> Tensor:
    def of_mask(mask: np.ndarray) -> np.ndarray:
        return np.where(mask, distance_transform_edt(mask, spacing), distance_transform_edt(~mask, spacing))

    return _of_each(masks, of_mask, np.float32)


@torch.library.custom_op("autoseg::tubed_skeletons", mutates_args=(), schema="(Tensor masks) -> Tensor")
def _tubed_skeletons(masks: Tensor) -> Tensor:
    def of_mask(mask: np.ndarray) -> np.ndarray:
        tube = np.zeros_like(mask)
        (box,) = find_objects(mask.view(np.uint8))
        inside = mask[box]
        tube[box] = binary_dilation(skeletonize(inside), iterations=TUBE, mask=inside)
        return tube

    return _of_each(masks, of_mask, np.bool_, whole=True)


@_signed_distances.register_fake
@_border_distances.register_fake
def _distances_without_data(masks: Tensor, spacing: list[float]) -> Tensor:
    return torch.empty_like(masks, dtype=torch.float32)


@_tubed_skeletons.register_fake
def _skeletons_without_data(masks: Tensor) -> Tensor:
    return torch.empty_like(masks)


def _of_each(masks: Tensor, of_mask: Callable[[np.ndarray], np.ndarray], kind: type, whole: bool = False) -> Tensor:
    """The maps of all masks that are on somewhere and, unless ``whole``, off somewhere; 0 for the others."""
    given = masks.cpu().numpy()
    maps = np.zeros(given.shape, kind)
    for place in np.ndindex(given.shape[:2]):
        mask = given[place]
        if mask.any() and (whole or not mask.all()):
            maps[place] = of_mask(mask)
    return torch.from_numpy(maps).to(masks.device)
