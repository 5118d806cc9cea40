"""What a network gets to see: groups of channels, each of one kind. Nothing else counts channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "labels", "heat map"]
BYTES: dict[Kind, int] = {"image": 2, "labels": 1, "heat map": 4}


@dataclass(frozen=True)
class InputGroup:
    """Channels that are read, augmented and shown to the network alike."""

    name: str
    kind: Kind
    """``image``: intensities. ``labels``: label indices, of which the network sees one channel per label. ``heat map``:
    numbers from 0, nothing, to 1."""
    channels: int
    """Of an image or heat map; of labels how many there are, without background."""
    slices: int = 1
    """Neighbouring slices of each channel."""
    optional: bool = False
    """Whether it may be absent: all of it is 0 then."""

    @property
    def read(self) -> int:
        """Arrays (z, y, x) that are read: label indices are one."""
        return self.slices if self.kind == "labels" else self.seen

    @property
    def seen(self) -> int:
        """Channels that the network sees, (channel, slice) in this order."""
        return self.channels * self.slices

    @property
    def voxel_bytes(self) -> int:
        """Of all that is read of one voxel, as it is usually stored."""
        return self.read * BYTES[self.kind]


@dataclass(frozen=True)
class InputSpec:
    """All groups, in the order in which the network sees them; the image comes first."""

    groups: tuple[InputGroup, ...]

    def __post_init__(self) -> None:
        names = [group.name for group in self.groups]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"inputs: {', '.join(sorted(twice))} is there twice")

    @classmethod
    def of_image(cls, channels: int, slices: int = 1, extras: tuple[InputGroup, ...] = ()) -> InputSpec:
        """An image of so many channels, and what comes in beside it."""
        return cls((InputGroup("image", "image", channels, slices), *extras))

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

    @property
    def voxel_bytes(self) -> int:
        """Of all that is read of one voxel, as it is usually stored."""
        return sum(group.voxel_bytes for group in self.groups)
