"""A label map as input of a network: its last channel, which the network inside sees as one channel per label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class OneHotLast(nn.Module):
    """Takes label indices 0..``labels`` in the last channel; ``network`` gets ``labels`` channels of 0 and 1 instead.

    Background (0) has no channel of its own.
    """

    def __init__(self, network: nn.Module, labels: int) -> None:
        super().__init__()
        self.network = network
        self.labels = labels

    @property
    def last(self) -> Any:
        """See ``parts.networks``; None where the network has none."""
        return getattr(self.network, "last", None)

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """``images`` (B, channels + 1, *patch)."""
        logits: Sequence[Tensor] = self.network(self._members(images))
        return logits

    def maps(self, images: Tensor) -> Tensor:
        """The finest feature maps."""
        network: Any = self.network
        maps: Tensor = network.maps(self._members(images))
        return maps

    def _members(self, images: Tensor) -> Tensor:
        indices = torch.arange(1, self.labels + 1, device=images.device, dtype=images.dtype)
        members = images[:, -1:] == indices.view(-1, *(1,) * (images.dim() - 2))
        return torch.cat((images[:, :-1], members.to(images.dtype)), 1)
