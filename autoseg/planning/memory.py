"""How much a plain U-Net keeps in memory for one patch, without building it.

The measure is nnU-Net's (``compute_conv_feature_map_size``, dynamic_network_architectures 0.4): how many elements all
feature maps have that convolutions give. Weights, optimizer and loss are not in it: budgets were tuned without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def feature_map_elements(
    patch_size: Sequence[int],
    strides: Sequence[Sequence[int]],
    features: Sequence[int],
    *,
    convolutions: int,
    heads: int,
) -> int:
    """Elements for one patch: ``convolutions`` per stage down and up, one transposed convolution, one finest head."""
    size = list(patch_size)
    elements, last = 0, len(strides) - 1
    for stage, (stride, maps) in enumerate(zip(strides, features)):
        size = [edge // step for edge, step in zip(size, stride)]
        voxels = math.prod(size)
        if stage == 0:
            elements += heads * voxels
        outputs = convolutions if stage == last else 2 * convolutions + 1
        elements += outputs * maps * voxels
    return elements
