"""What was decided about the channels of all cases, and what was found for one channel of one case, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.bounds import bounded

VERSION = 1  # raise it when the same files and decisions are brought onto one grid otherwise
HEADER, RIGID, AFFINE = METHODS = ("header", "rigid", "affine")
LEAST_GAIN, LEAST_SHARE = 0.002, 0.02
"""A registration counts as better than the header where it raises the normalised mutual information by the first and,
beside that, by the second as a share of what lies above 1. Channels that lie together gained less (heads: at most
0.0022 of 0.174; T2 and ADC of prostates: 0.0020 of 0.037), and a shift of two millimetres in a head cost 0.023."""


@dataclass(frozen=True)
class Alignment:
    """How the channels of a case come onto one grid."""

    reference: int
    """The channel whose grid that is, counted from 0. Where a case lacks it, its first channel takes its place."""
    method: str = HEADER
    """``header``: every channel lies where its header says. ``rigid``, ``affine``: from there it is registered to the
    reference."""

    def __post_init__(self) -> None:
        bounded(self, "reference", least=0)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; found {self.method!r:.100}")

    @property
    def registers(self) -> bool:
        return self.method != HEADER


@dataclass(frozen=True)
class AlignmentRequest:
    """What a user wants to decide about it."""

    method: str = HEADER
    """One of ``METHODS``."""
    reference: str | None = None
    """Name or number of the channel; None: that on whose grid the label maps lie, or else the finest."""

    def __post_init__(self) -> None:
        Alignment(0, self.method)

    @property
    def registers(self) -> bool:
        return self.method != HEADER


BY_HEADER = AlignmentRequest()


@dataclass(frozen=True)
class Registration:
    """Where one channel of one case lies: the place p of the reference is the place ``matrix @ p + offset`` of it."""

    alignment: Alignment
    """What was asked for."""
    matrix: tuple[float, float, float, float, float, float, float, float, float]
    """Row by row."""
    offset: tuple[float, float, float]
    """Millimetres."""
    before: float
    """Normalised mutual information of both channels (1: none, 2: each follows from the other) by their headers."""
    after: float
    """The same with this transform."""
    displacement: float
    """Millimetres by which it moves the farthest corner of the box around the reference's content."""

    @property
    def used(self) -> bool:
        """Whether it is better than what the header says; otherwise the channel stays where that puts it."""
        return self.after - self.before > LEAST_GAIN + LEAST_SHARE * (self.before - 1)

    @property
    def told(self) -> str:
        """For messages: what it would do, and what that gains."""
        return (
            f"{self.displacement:.1f} mm at the farthest corner, normalised mutual information "
            f"{self.before:.4f} before and {self.after:.4f} after"
        )
