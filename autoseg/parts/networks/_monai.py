"""What the torch sides of the networks of MONAI share. MONAI itself is imported when one of them is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import TorchFunctionMode

from ...errors import RecordError
from ._normalisation import InstanceNorm
from ._stages import refuse_too_many
from ._unet import CONVOLUTION, logits_of


def refuse_too_many_weights(make: Callable[[], nn.Module]) -> None:
    """Raises RecordError where what ``make`` makes has more weights than anybody has: counted without making them."""
    probe = torch.empty(0)
    if probe.is_meta or type(probe) is not Tensor:  # in a block in which tensors have no data
        return
    with torch.device("meta"):
        count = sum(tensor.numel() for tensor in make().state_dict().values())
    try:
        refuse_too_many(count, "the fields of this network")
    except ValueError as error:
        raise RecordError(f"network: {error}") from None


class Headed(nn.Module):
    """A network that gives its finest feature maps, and the layer that makes logits of them."""

    def __init__(self, network: nn.Module, dimensions: int, features: int, heads: int) -> None:
        """``network`` makes (B, features, *patch) of images."""
        super().__init__()
        self.network = adapted(network)
        self.last = CONVOLUTION[dimensions](features, heads, 1)

    def maps(self, images: Tensor) -> Tensor:
        """The finest feature maps (B, features, *patch)."""
        maps: Tensor = self.network(images)
        return maps

    def forward(self, images: Tensor) -> list[Tensor]:
        return [logits_of(self.last, self.maps(images))]


class DeeplyHeaded(nn.Module):
    """A network that gives feature maps of several scales, finest first, and a layer for each."""

    def __init__(self, network: nn.Module, dimensions: int, features: Sequence[int], heads: int) -> None:
        super().__init__()
        self.network = adapted(network)
        self.heads = nn.ModuleList(CONVOLUTION[dimensions](count, heads, 1) for count in features)

    @property
    def last(self) -> nn.Module:
        """What makes the finest logits of ``maps``."""
        return self.heads[0]

    def maps(self, images: Tensor) -> Tensor:
        """The finest feature maps (B, features, *patch)."""
        maps: Tensor = self.network(images)[0]
        return maps

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.logits(self.network(images))

    def logits(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """Of the feature maps of all scales, finest first."""
        return [logits_of(head, maps) for head, maps in zip(self.heads, scales)]


class PatchNorm(InstanceNorm):
    """Instance normalisation that leaves what it is given: networks of MONAI use that elsewhere, too."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps if torch.is_grad_enabled() or maps.is_contiguous() else maps.clone())


class SmallMapsConv3d(nn.Conv3d):
    """``torch.nn.Conv3d``, which in bfloat16 on a processor gives NaN as gradient now and then where maps are no longer
    than the kernel along an axis (torch 2.13, oneDNN reads what nobody wrote): these are computed in float32."""

    def forward(self, input: Tensor) -> Tensor:
        fine = input.device.type != "cpu" or not torch.is_grad_enabled()
        if fine or min(input.shape[2:]) > max(self.kernel_size):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


def adapted(network: nn.Module) -> nn.Module:
    """With instance normalisation in place of MONAI's norms of batches and instances.

    A plan's batches are small, and may be computed in parts or on several GPUs: each patch is normalised by itself. And
    maps of one voxel, of which torch refuses to take moments, become the shift that was learned.
    """
    for module in list(network.modules()):
        if type(module) is nn.Conv3d:
            module.__class__ = SmallMapsConv3d
        for name, child in module.named_children():
            alone = isinstance(child, nn.GroupNorm) and child.num_groups == child.num_channels
            if alone or isinstance(child, _BatchNorm | _InstanceNorm):
                setattr(module, name, PatchNorm(child.num_channels if alone else child.num_features))  # type: ignore
    return network


def without(network: nn.Module, path: str) -> nn.Module:
    """``network`` with nothing in the place of its module ``path``: "conv_final.2"."""
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, nn.Identity())
    return network


class NumbersWithoutTensors(TorchFunctionMode):
    """A block in which ``torch.linspace`` gives numpy's numbers: networks that read them while they are built can be
    built of tensors without data."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return np.linspace(*args) if func is torch.linspace else func(*args, **(kwargs or {}))
