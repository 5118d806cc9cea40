"""What a network gets to see: groups of channels, each of one kind. Nothing else counts channels.

And what the engines hand to a part that makes such a group: cases, and how a batch was moved.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .geometry import Box

Kind = Literal["image", "labels", "masks", "heat map"]
BYTES: dict[Kind, int] = {"image": 2, "labels": 1, "masks": 2, "heat map": 4}


@dataclass(frozen=True)
class InputGroup:
    """Channels that are read, augmented and shown to the network alike."""

    name: str
    kind: Kind
    """``image``: intensities. ``labels``: label indices, of which the network sees one channel per label. ``masks``: a
    map with a bit per mask, of which it sees one channel each. ``heat map``: numbers from 0, nothing, to 1."""
    channels: int
    """Of an image or heat map; of labels or masks how many there are, without background."""
    slices: int = 1
    """Neighbouring slices of each channel."""
    optional: bool = False
    """Whether it may be absent: all of it is 0 then."""

    @property
    def read(self) -> int:
        """Arrays (z, y, x) that are read: label indices, or all masks, are one."""
        return self.slices if self.whole_numbers else self.seen

    @property
    def whole_numbers(self) -> bool:
        """Whether what is read is one map of whole numbers."""
        return self.kind in ("labels", "masks")

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


class CaseInTraining(Protocol):
    """A prepared case, as a further input sees it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) on the network's grid."""

    @property
    def channels(self) -> int:
        """Of the image."""

    @property
    def absent(self) -> tuple[int, ...]:
        """Channels of the image that it lacks, counted from 0."""

    @property
    def foreground(self) -> Any:
        """Where its labels are: ``preprocessing.locations.Locations``."""

    def predicted(self, box: Box) -> np.ndarray:
        """Label indices (*box) that the earlier stage predicted; only for an input that names one."""


class CaseInPrediction(Protocol):
    """A case to be predicted, as a further input sees it."""

    @property
    def image(self) -> np.ndarray:
        """float32 (channels, z, y, x), on the network's grid."""

    @property
    def absent(self) -> tuple[int, ...]:
        """Channels of the image that it lacks, counted from 0."""

    @property
    def given(self) -> Any:
        """What the caller gave for this input; None: nothing."""

    def predicted(self) -> np.ndarray:
        """Label indices (z, y, x) that the earlier stage predicts; only for an input that names one."""

    def points(self, points: np.ndarray) -> np.ndarray:
        """Places (n, 3) in voxels (z, y, x) of the file, as places on the network's grid."""


class Move(Protocol):
    """What is done to the images of a batch: rotated, scaled and mirrored, patch by patch, and channels left out."""

    @property
    def absent(self) -> Sequence[Collection[int]]:
        """Of each patch the channels of the image, counted from 0, that are 0 everywhere: its case lacks them, or they
        are withheld from it. Empty: no patch lacks any."""

    def images(self, images: Sequence[Tensor]) -> Tensor:
        """Each (channels, *loaded), interpolated to float32 (B, channels, *patch); 0 beyond what was read."""

    def labels(self, labels: Sequence[Tensor]) -> Tensor:
        """Label indices, each (maps, *loaded), to (B, maps, *patch); background beyond what was read."""
