"""What the page's viewer unpacks: one case as bytes, image and label maps on one grid.

Axes are those of ``planes.turned``: (z, y, x), x to the patient's left, y to the back, z to the head. Data are bytes in
that order, compressed (zlib, RFC 1950) and written in base64.
"""

from __future__ import annotations

from dataclasses import dataclass

from .planes import Plane


@dataclass(frozen=True)
class VolumeChannel:
    """One channel of the image in 256 steps."""

    name: str
    steps: tuple[tuple[int, float], ...]
    """Some bytes and the values that they stand for, ascending; the others lie on straight lines between them."""
    beyond: tuple[bool, bool]
    """Whether values lie below the first step, and above the last: they became these."""
    told: str
    """The steps in words."""
    windows: tuple[tuple[str, float, float], ...]
    """Name, width and level of windows that can be chosen, in the unit of the values; the first is shown first."""
    data: str
    """Each byte is the difference to the voxel before along x, modulo 256, which compresses better."""


@dataclass(frozen=True)
class VolumeLayer:
    """Numbers that are drawn on the image; 0: nothing."""

    name: str
    marked: bool
    """Numbers are kinds of error, or what else is marked; otherwise labels."""
    nothing: str
    """What 0 means."""
    data: str
    """A byte per voxel, or two where there are more than 255 labels, the lower first."""


@dataclass(frozen=True)
class Volume:
    """One case."""

    case: str
    shown: str
    """Which of the file's voxels are one here."""
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    """mm; only their ratios are used."""
    planes: tuple[Plane, ...]
    at: tuple[int, int, int]
    """The voxel that is shown first."""
    channels: tuple[VolumeChannel, ...]
    layers: tuple[VolumeLayer, ...]

    @property
    def characters(self) -> int:
        """Of its data."""
        return sum(len(each.data) for each in self.channels) + sum(len(each.data) for each in self.layers)
