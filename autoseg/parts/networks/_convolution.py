"""3-D convolution in fewer multiplications, for prediction on a processor, where float32 keeps it fully busy.

A kernel of three makes ``block`` planes along z of ``block + 2`` products instead of ``3 * block``: polynomials are
multiplied by their values at points (Toom 1963, Cook 1966), and a convolution is the transpose of that (Winograd 1980).
Here planes are combined, one 2-D convolution per point is the product, and the products are combined. Rounding errors
grow with the block: with 10 planes they are 1e-5 of what is computed, where one rounding to bfloat16 is 1e-3.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, prod

import numpy as np
import torch
from numpy.polynomial.polynomial import polyfromroots
from torch import Tensor, nn
from torch.nn.functional import conv2d

POINTS = (0.0, 1.0, -1.0, 8 / 3, -8 / 3, 3 / 8, -3 / 8, 5 / 8, -5 / 8, 8 / 5, -8 / 5)
"""And infinity. Of fractions up to 3 with both signs these lose least in float32, whichever block; the second is 1."""
LONGEST = len(POINTS) - 1
CHUNK_BYTES = 1 << 25  # of combined planes at a time: a few blocks, since each product costs a call
MOST_THREADS = 4  # of one prediction: planes are combined by one thread, while the others wait
LEAST_VOXELS, LEAST_CHANNELS = 1000, 8  # of a batch; with fewer, combining takes longer than what it saves


class Conv3d(nn.Conv3d):
    """``torch.nn.Conv3d``; in prediction in float32 on a processor, kernels of three are applied in blocks."""

    def forward(self, input: Tensor) -> Tensor:
        return in_blocks(input, self.weight, self.bias) if self._pays(input) else super().forward(input)

    def _pays(self, maps: Tensor) -> bool:
        return (
            maps.device.type == "cpu"
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and maps.dtype == self.weight.dtype == torch.float32
            and torch.get_num_threads() <= MOST_THREADS
            and self.kernel_size == (3, 3, 3)
            and self.padding == (1, 1, 1)
            and self.stride == self.dilation == (1, 1, 1)
            and self.groups == 1
            and min(self.in_channels, self.out_channels) >= LEAST_CHANNELS
            and maps.shape[2] > 1
            and maps.numel() >= LEAST_VOXELS * self.in_channels
        )


def in_blocks(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``conv3d(maps, weight, bias, padding=1)`` of (B, channels, z, y, x) and (outputs, channels, 3, 3, 3), float32."""
    batch, channels, depth, *plane = maps.shape
    outputs, pixels = len(weight), prod(plane)
    block = min(range(1, LONGEST + 1), key=lambda length: ceil(depth / length) * (length + 2))
    combine, combine_kernel, combine_products = map(torch.from_numpy, _combinations(block))
    kernels = combine_kernel @ weight.permute(2, 0, 3, 4, 1).flatten(1)
    kernels = kernels.view(-1, outputs, 3, 3, channels).movedim(-1, 2)
    planes = maps.movedim(1, -1).reshape(batch, depth, pixels * channels)
    result = maps.new_empty(batch, depth, pixels * outputs)
    blocks = [(image, start) for image in range(batch) for start in range(0, depth, block)]
    together = max(1, CHUNK_BYTES // (4 * (block + 2) * pixels * max(channels, outputs)))
    for some in (blocks[first : first + together] for first in range(0, len(blocks), together)):
        seen = maps.new_empty(block + 2, len(some), pixels * channels)
        for place, (image, start) in enumerate(some):
            first, stop = max(0, start - 1), min(depth, start + block + 1)  # beyond the border there are zeros
            weights = combine[:, first - start + 1 : stop - start + 1]
            torch.mm(weights, planes[image, first:stop], out=seen[:, place])
        products = maps.new_empty(block + 2, len(some), pixels * outputs)
        for point, (values, kernel) in enumerate(zip(seen.unflatten(-1, (*plane, channels)), kernels)):
            # At the point 1 all planes of the result count the product once: there it may bring the bias.
            product = conv2d(values.movedim(-1, 1), kernel, bias if point == 1 else None, padding=1)
            products[point] = product.movedim(1, -1).flatten(1)
        for place, (image, start) in enumerate(some):
            made = result[image, start : start + block]
            torch.mm(combine_products[: len(made)], products[:, place], out=made)
    return result.view(batch, depth, *plane, outputs).movedim(-1, 1)


@lru_cache
def _combinations(block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What combines ``block + 2`` planes (points, planes), the planes of a kernel (points, 3) and the products
    (planes, points), in float32. No tensors: one that was made where torch only counts memory has no values."""
    points, degrees = np.array(POINTS[: block + 1]), np.arange(block + 2)
    planes, kernel, products = np.eye(block + 2), np.eye(block + 2, 3), np.eye(block, block + 2)
    for index, point in enumerate(points):
        others = np.delete(points, index)
        planes[index, :-1] = polyfromroots(others)
        kernel[index] = point ** degrees[:3] / np.prod(point - others)
        products[:, index] = point ** degrees[:block]
    planes[-1], kernel[-1], products[:, -1] = polyfromroots(points), (0, 0, 1), degrees[:block] == block - 1
    return planes.astype(np.float32), kernel.astype(np.float32), products.astype(np.float32)
