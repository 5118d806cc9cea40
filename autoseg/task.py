"""A configuration and what engines need to know of its dataset: all that preparing, training and predicting ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .configuration import Configuration
from .core.inputs import InputGroup, InputSpec
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

    @property
    def inputs(self) -> InputSpec:
        """What the network sees: the image and, in a cascade, the label indices that the earlier stage predicted."""
        image = InputGroup("image", "image", len(self.channels), self.configuration.slices)
        if self.configuration.previous is None:
            return InputSpec((image,))
        return InputSpec((image, InputGroup("prior", "labels", len(self.labels.values) - 1)))

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The ``mirror_axes`` that the network sees, 0 = z: a 2-D network sees no z."""
        flat = self.configuration.dimensions == 2
        return tuple(axis for axis in self.mirror_axes if not (flat and axis == 0))

    def network(self) -> nn.Module:
        """With fresh weights. It takes what ``inputs`` says, label indices as one channel each."""
        inputs, heads = self.inputs, self.labels.heads
        network: nn.Module = self.configuration.network.build(inputs.seen, heads)
        if not inputs.extras:
            return network
        from .parts.networks._one_hot import OneHotLast

        (prior,) = inputs.extras
        return OneHotLast(network, prior.channels)
