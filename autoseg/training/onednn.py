"""How much memory oneDNN's convolutions take while they run, beside their input and output.

They compute on copies whose channels lie in blocks of 16, and copy the result back. Found by listing what single
convolutions allocate (torch 2.13, AVX-512; 2-D and 3-D, 1 to 128 channels, float32 and bfloat16): right to 3 % where a
network needs most. Other processors take other paths; a real step then shows the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

BLOCK = 16
FEWEST_CHANNELS = 4  # an input of fewer is read as it lies
CONVOLUTION = torch.ops.aten.convolution.default
BACKWARD = torch.ops.aten.convolution_backward.default


def workspace(func: Any, args: Sequence[Any], outputs: Sequence[Tensor], threads: int) -> int:
    """Bytes at most beyond those alive before the operation, outputs included; 0 for what is no convolution."""
    if func is CONVOLUTION:
        return _forward(args[0], args[1], outputs[0])
    if func is BACKWARD:
        return _backward(args[0], args[1], args[2], threads, wanted=bool(args[-1][0]))
    return 0


def _forward(images: Tensor, weight: Tensor, result: Tensor) -> int:
    source, target = _blocked(images), _blocked(result, least=1)
    if result.numel() // result.shape[1] > images.numel() // images.shape[1]:  # transposed, with a stride
        return 3 * result.untyped_storage().nbytes()
    if _pointwise(weight) and _half(images):
        return source + 3 * target  # summed up in float32
    return max(source + target, target + result.untyped_storage().nbytes())


def _backward(gradient: Tensor, images: Tensor, weight: Tensor, threads: int, *, wanted: bool) -> int:
    """``wanted``: also the gradient of ``images``."""
    source, target = _blocked(images), _blocked(gradient, least=1)
    result = images.numel() * images.element_size() if wanted else 0
    voxels, voxels_of_images = gradient.numel() // gradient.shape[1], images.numel() // images.shape[1]
    if voxels < voxels_of_images:  # a stride: the gradient of the images is a transposed convolution
        of_images = 3 * result
    elif _pointwise(weight) and _half(images):
        of_images = target + 3 * source
    else:
        of_images = target + source + result
    of_weights = source + target + 4 * threads * weight.numel()
    if _half(images) and not _pointwise(weight):  # every thread transposes one patch, with a stride only parts of it
        larger, smaller = max(source, target), min(source, target)
        transposed = smaller + (larger if voxels == voxels_of_images else larger // 2)
        of_weights += transposed * min(threads, len(images)) // len(images)
    return max(of_images if wanted else 0, result + of_weights)


def _blocked(maps: Tensor, least: int = FEWEST_CHANNELS) -> int:
    """Bytes of a copy with the channels rounded up to whole blocks."""
    channels = maps.shape[1]
    if channels < least:
        return 0
    return maps.numel() // channels * -(-channels // BLOCK) * BLOCK * maps.element_size()


def _pointwise(weight: Tensor) -> bool:
    return prod(weight.shape[2:]) == 1


def _half(maps: Tensor) -> bool:
    return maps.element_size() == 2
