"""How much a U-Net keeps in memory for one patch, without building it.

The measure is nnU-Net's (``compute_conv_feature_map_size``, dynamic_network_architectures 0.4): how many elements all
feature maps have that convolutions give. Weights, optimizer and loss are not in it: budgets were tuned without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..configuration import Configuration
from ..parts.networks import plain_unet, residual_unet


def feature_map_elements(
    patch_size: Sequence[int],
    strides: Sequence[Sequence[int]],
    features: Sequence[int],
    *,
    down: Sequence[int],
    up: Sequence[int],
    heads: int,
) -> int:
    """Elements for one patch.

    ``down`` and ``up`` are the convolutions of each stage, the finest first; ``up`` has one entry fewer. To each stage
    of the way up comes one transposed convolution, to the finest the head.
    """
    size = list(patch_size)
    elements = 0
    for stage, (stride, maps) in enumerate(zip(strides, features)):
        size = [edge // step for edge, step in zip(size, stride)]
        voxels = math.prod(size)
        outputs = down[stage] + (up[stage] + 1 if stage < len(up) else 0)
        elements += (outputs * maps + (heads if stage == 0 else 0)) * voxels
    return elements


def elements_of_step(configuration: Configuration, heads: int) -> int:
    """Elements that one step of a configuration with a U-Net makes."""
    network = configuration.network
    assert isinstance(network, plain_unet.Spec | residual_unet.Spec), "nnU-Net's planners plan no other"
    return configuration.batch_size * feature_map_elements(
        configuration.patch_size,
        network.strides,
        network.features,
        down=[network.convolutions(blocks) for blocks in network.blocks_encoder],
        up=network.blocks_decoder,
        heads=heads,
    )
