"""A configuration and what engines need to know of its dataset: all that preparing, training and predicting ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .alignment.record import Alignment
from .configuration import Configuration
from .core.inputs import InputSpec
from .core.labels import Labels

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Task:
    """One thing to be learned. ``Plan.task`` makes it; fields mean what they mean there."""

    dataset: str
    name: str
    """Of the configuration."""
    configuration: Configuration
    channels: tuple[str, ...]
    """Of the images."""
    labels: Labels
    axis_order: tuple[int, int, int]
    orientation: str | None
    mirror_axes: tuple[int, ...]
    """Of images, as the plan has them; ``mirrored`` are those of the network."""
    file_ending: str
    alignment: Alignment | None = None
    """Of the channels of a case."""

    @property
    def inputs(self) -> InputSpec:
        """What the network sees: the image, and after it the inputs of the configuration."""
        extras = tuple(part.group(self.channels, self.labels) for part in self.configuration.inputs)
        return InputSpec.of_image(len(self.channels), self.configuration.slices, extras)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The ``mirror_axes`` that the network sees, 0 = z: a 2-D network sees no z."""
        flat = self.configuration.dimensions == 2
        return tuple(axis for axis in self.mirror_axes if not (flat and axis == 0))

    def network(self) -> nn.Module:
        """With fresh weights. It takes what ``inputs`` says as it is read: label indices as one channel."""
        network: nn.Module = self.configuration.network.build(self.inputs, self.labels.heads)
        if not self.configuration.inputs:
            return network
        from .parts.inputs._encoding import Encoded

        return Encoded(network, self.configuration.inputs, self.inputs)
