"""A configuration and what engines need to know of its dataset: all that preparing, training and predicting ask for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .alignment.record import Alignment
from .configuration import Configuration
from .core.channels import ChannelSource
from .core.inputs import InputSpec
from .core.labels import Labels
from .core.missing import listed

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
    channel_sources: tuple[ChannelSource, ...] = ()
    alignment: Alignment | None = None
    """Of the channels of a case."""

    @property
    def seen(self) -> tuple[int, ...]:
        """Channels of the image that the network sees, counted from 0."""
        chosen = self.configuration.channels
        return tuple(range(len(self.channels))) if chosen is None else chosen

    @property
    def inputs(self) -> InputSpec:
        """What the network sees: the image, and after it the inputs of the configuration."""
        names = [self.channels[channel] for channel in self.seen]
        extras = tuple(part.group(names, self.labels) for part in self.configuration.inputs)
        return InputSpec.of_image(len(names), self.configuration.slices, extras)

    @property
    def exclusive(self) -> bool:
        """Whether each case has exactly one of the channels, its modality."""
        return self.configuration.missing is not None and self.configuration.missing.exclusive

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The ``mirror_axes`` that the network sees, 0 = z: a 2-D network sees no z."""
        flat = self.configuration.dimensions == 2
        return tuple(axis for axis in self.mirror_axes if not (flat and axis == 0))

    def problem_without(self, absent: Collection[int]) -> str | None:
        """What is wrong with a case that lacks these channels, counted from 0; None where the network does without."""
        if self.configuration.missing is not None:
            return self.configuration.missing.problem_without(self.channels, absent)
        names = [self.channels[number] for number in sorted(absent)]
        why = "which the model needs: it was not planned for missing channels (`autoseg plan --missing-channels`)"
        return f"lacks {listed(names)}, {why}" if names else None

    def network(self) -> nn.Module:
        """With fresh weights. It takes what ``inputs`` says as it is read: label indices as one channel."""
        network: nn.Module = self.configuration.network.build(self.inputs, self.labels.heads)
        if not self.configuration.inputs:
            return network
        from .parts.inputs._encoding import Encoded

        return Encoded(network, self.configuration.inputs, self.inputs)
