"""What a network gets to see: groups of channels, each of one kind. Nothing else counts channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "labels"]


@dataclass(frozen=True)
class InputGroup:
    """Channels that are read, augmented and shown to the network alike."""

    name: str
    kind: Kind
    """``image``: intensities. ``labels``: label indices, of which the network sees one channel per label."""
    channels: int
    """Of an image; of labels how many there are, without background."""
    slices: int = 1
    """Neighbouring slices of each channel."""

    @property
    def read(self) -> int:
        """Arrays that are read: label indices are one."""
        return self.seen if self.kind == "image" else self.slices

    @property
    def seen(self) -> int:
        """Channels that the network sees, (channel, slice) in this order."""
        return self.channels * self.slices


@dataclass(frozen=True)
class InputSpec:
    """All groups, in the order in which the network sees them; the image comes first."""

    groups: tuple[InputGroup, ...]

    @property
    def image(self) -> InputGroup:
        return self.groups[0]

    @property
    def extras(self) -> tuple[InputGroup, ...]:
        """All but the image."""
        return self.groups[1:]

    @property
    def read(self) -> int:
        """Arrays (z, y, x) that are read for a patch."""
        return sum(group.read for group in self.groups)

    @property
    def seen(self) -> int:
        """Channels that the network sees."""
        return sum(group.seen for group in self.groups)
