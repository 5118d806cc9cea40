"""What an objective learns from: patches as the network sees them, with what is known of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .inputs import InputSpec

if TYPE_CHECKING:
    from torch import Tensor

LABELLED = "labelled"
STREAMS = (LABELLED,)
"""The streams of samples that a training can draw. ``labelled``: patches of cases that have a label map."""


@dataclass(frozen=True)
class Samples:
    """Augmented patches of one stream, on the device."""

    network_input: Tensor
    """(B, channels, *patch) float32: the groups of ``inputs``, one after the other."""
    targets: Tensor
    """(B, *patch) label indices."""
    keys: tuple[str, ...]
    """The case of each patch."""
    spacing: tuple[float, ...]
    """Of the network's grid: mm along the axes of the patch."""
    inputs: InputSpec
    """What the channels of ``network_input`` are."""

    @property
    def image(self) -> Tensor:
        """(B, channels, *patch): the channels of ``network_input`` that are images."""
        return self.network_input[:, : self.inputs.image.read]

    @property
    def extras(self) -> dict[str, Tensor]:
        """Name of every further group to its channels (B, channels, *patch)."""
        found, start = {}, self.inputs.image.read
        for group in self.inputs.extras:
            found[group.name] = self.network_input[:, start : start + group.read]
            start += group.read
        return found

    def split(self, count: int) -> list[Samples]:
        """In ``count`` parts, the patches in their order, as equal as can be."""
        parts, start = [], 0
        for seen, targets in zip(self.network_input.tensor_split(count), self.targets.tensor_split(count)):
            stop = start + len(seen)
            parts.append(replace(self, network_input=seen, targets=targets, keys=self.keys[start:stop]))
            start = stop
        return parts
