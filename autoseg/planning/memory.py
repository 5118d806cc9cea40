"""How many feature map elements a network makes of a patch: what its memory and time grow with.

The measure is nnU-Net's (``compute_conv_feature_map_size``, dynamic_network_architectures 0.4): how many elements all
feature maps have that convolutions give. Weights, optimizer and loss are not in it: budgets were tuned without them.
For U-Nets there is a formula, the layers of other networks are counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..parts.networks import plain_unet, residual_unet
from ..task import Task

SMALL_EDGE = 32  # voxels
_PER_VOXEL: dict[str, float] = {}


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


def elements_of_step(task: Task) -> int:
    """Elements that one training step makes."""
    return task.configuration.batch_size * elements_of_patch(task)


def elements_of_patch(task: Task) -> int:
    """The same measure for any network: by formula for autoseg's U-Nets, counted for others."""
    configuration, heads = task.configuration, task.labels.heads
    network, patch = configuration.network, configuration.patch_size
    if not isinstance(network, plain_unet.Spec | residual_unet.Spec):
        return math.ceil(math.prod(patch) * elements_per_voxel(task))
    return feature_map_elements(
        patch,
        network.strides,
        network.features,
        down=[network.convolutions(blocks) for blocks in network.blocks_encoder],
        up=network.blocks_decoder,
        heads=heads,
    )


def elements_per_voxel(task: Task) -> float:
    """Elements that the layers with weights of any network give for each voxel of a patch, at least 1.

    The network runs once, on tensors without data, for a small patch: feature maps grow with the voxels. Layers are
    those whose weight is a matrix or kernel, convolutions for instance; a layer's weight that is used otherwise than by
    calling the layer does not count.
    """
    network = task.configuration.network
    key = repr((network, task.inputs, task.labels.heads))
    if key not in _PER_VOXEL:
        patch = tuple(max(2, math.ceil(SMALL_EDGE / step)) * step for step in network.divisor)
        _PER_VOXEL[key] = max(1.0, _count(task, patch) / math.prod(patch))
    return _PER_VOXEL[key]


def _count(task: Task, patch: Sequence[int]) -> int:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    counted = 0

    def count(module: torch.nn.Module, given: object, output: object) -> None:
        nonlocal counted
        counted += output.numel() if isinstance(output, torch.Tensor) else 0

    with FakeTensorMode(allow_non_fake_inputs=True):
        network = task.network()
        for module in network.modules():
            weight = module._parameters.get("weight")
            if weight is not None and weight.dim() > 1:
                module.register_forward_hook(count)
        network(torch.zeros((1, task.inputs.read, *patch)))
    return counted
