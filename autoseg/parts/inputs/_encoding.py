"""The entrance of a network with further inputs: there each is encoded as its part says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ...core.inputs import InputSpec
    from ..contracts import Input


def joined(images: Tensor, extras: Sequence[Tensor]) -> Tensor:
    """What ``Encoded`` takes: ``images`` (B, channels, *patch), then every further input (B, read, *patch)."""
    return torch.cat((images, *(extra.to(images.dtype) for extra in extras)), 1) if extras else images


class Encoded(nn.Module):
    """Takes all inputs as they are read, one after the other as channels; ``network`` sees them encoded."""

    def __init__(self, network: nn.Module, inputs: Sequence[Input], spec: InputSpec) -> None:
        """``inputs`` are the parts of the groups that come after the image in ``spec``."""
        super().__init__()
        self.network = network
        self.inputs = tuple(inputs)
        self.spec = spec

    @property
    def last(self) -> Any:
        """See ``contracts.Network``; None where the network has none."""
        return getattr(self.network, "last", None)

    @property
    def alternatives(self) -> Any:
        """See ``contracts.Network``; none where the network has none."""
        return getattr(self.network, "alternatives", ())

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """``images`` (B, spec.read, *patch)."""
        logits: Sequence[Tensor] = self.network(self._seen(images))
        return logits

    def maps(self, images: Tensor) -> Tensor:
        """The finest feature maps."""
        network: Any = self.network
        maps: Tensor = network.maps(self._seen(images))
        return maps

    def _seen(self, images: Tensor) -> Tensor:
        """(B, spec.seen, *patch)."""
        image, *extras = images.split([group.read for group in self.spec.groups], 1)
        encoded = (part.encode(extra, group) for part, extra, group in zip(self.inputs, extras, self.spec.extras))
        return torch.cat((image, *encoded), 1)
