"""What the user wants to decide before the planning rules do; everything else follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.fusion import DECISION, MIDDLE, UNPAIRED, Fusion, read_levels
from ..core.names import short
from ..errors import UsageError
from .named_network import fields_of, part_of

MOST_SLICES = 99  # that a 2-D network may see
MULTI_ENCODER = "multi_encoder_unet"  # the network that fuses in the middle
UNPAIRED_UNET = "unpaired_unet"  # the network that modalities of different cases share
NETWORK_OF = {MIDDLE: MULTI_ENCODER, UNPAIRED: UNPAIRED_UNET}


@dataclass(frozen=True)
class PlanConstraints:
    """Axes are (z, y, x) of the files, as in every header and in ``fingerprint.json``. None: as the rules say."""

    spacing: tuple[float, float, float] | None = None
    """Millimetres to which images are resampled, instead of the spacing that most of them have."""
    mirror: tuple[int, ...] | None = None
    """Axes along which images may be mirrored in training and prediction, instead of all that keep left from right."""
    slices: int | None = None
    """Neighbouring slices that a 2-D network is to see (configuration 2.5d); 1: no such configuration."""
    memory: int | None = None
    """Bytes that one training may take, all in all."""
    seconds: float | None = None
    """That one training may take."""
    network: str | None = None
    """The part that is to be planned (``contracts.Network``), instead of a planner's own networks, and fields of it
    that are chosen: ``modular_unet:block=dense,attention=channel`` (``named_network``)."""
    bias_correction: tuple[str, ...] = ()
    """Channels, by name or number, whose bias field is to be corrected first of all (N4); ``all``: those of MR."""
    filters: tuple[tuple[str, str], ...] = ()
    """Channel and ``contracts.Filter`` by its name, in the order in which a channel's are applied."""
    normalizers: tuple[tuple[str, str], ...] = ()
    """Channel and ``contracts.Normalizer`` by its name, instead of the one that follows from the channel's name."""

    @property
    def of_channels(self) -> bool:
        """Whether single channels are spoken of."""
        return bool(self.bias_correction or self.filters or self.normalizers)

    missing_channels: bool = False
    """Whether cases to be predicted may lack channels although no training case does."""
    require: tuple[str, ...] = ()
    """Channels that every case must have."""
    fusion: Fusion | None = None
    """How channels are combined; None: they enter the network side by side."""
    beside: tuple[Fusion, ...] = ()
    """Fusions in the middle, each of which is to have a configuration of its own beside the others."""

    def __post_init__(self) -> None:
        if self.spacing is not None and not all(0 < edge < math.inf for edge in self.spacing):
            raise UsageError(f"spacing must be three numbers of millimetres above 0, found {self.spacing}")
        if self.slices is not None and (self.slices not in range(1, MOST_SLICES + 1) or self.slices % 2 == 0):
            raise UsageError(
                f"slices must be odd, so that one is in the middle, and at most {MOST_SLICES}; found {self.slices}"
            )
        if self.network is not None and not (isinstance(self.network, str) and self.network.strip()):
            raise UsageError(f"network must be the name of a part, found {self.network!r:.100}")
        named = None if self.network is None else part_of(self.network)
        fields_of(self.network or "")
        if not isinstance(self.require, tuple) or not all(isinstance(name, str) for name in self.require):
            raise UsageError(f"require must be names of channels, found {self.require!r:.100}")
        asked = self.fusion and NETWORK_OF.get(self.fusion.level)
        if asked and self.fusion and self.network not in (None, asked):
            raise UsageError(
                f"--network {short(self.network)} has its own way to combine channels; --fusion {self.fusion.level} is "
                f"another network, {asked}: give --fusion or --network"
            )
        if self.fusion is not None and self.fusion.level == DECISION and named in NETWORK_OF.values():
            raise UsageError(f"--fusion {DECISION} has a network for each modality, {named} is one for several")
        if self.beside and named in NETWORK_OF.values():
            raise UsageError(
                f"--network {named} is no fusion at the input, beside which others are planned: name another "
                "network, or leave --network out"
            )

    @property
    def middle(self) -> Fusion | None:
        """The fusion of several encoders."""
        return self.fusion if self.fusion is not None and self.fusion.level == MIDDLE else None

    @property
    def single(self) -> tuple[PlanConstraints, ...]:
        """Those of each plan that has to be made: one for ``fusion``, and one for each of those ``beside``."""
        others = (replace(self, network=None, fusion=fusion, beside=()) for fusion in self.beside)
        return replace(self, beside=()), *others

    @property
    def part(self) -> str | None:
        """The network to be planned, with its fields, which a fusion may decide."""
        return self.network if self.fusion is None else NETWORK_OF.get(self.fusion.level, self.network)

    def refuse_network(self, planner: str) -> None:
        """Raises UsageError where a network is asked for of a planner that has its own."""
        if self.part is not None:
            decided = self.fusion is not None and self.fusion.level in NETWORK_OF
            asked = f"--fusion {self.fusion.level}" if self.fusion and decided else f"--network {short(self.part)}"
            raise UsageError(
                f"{asked}: planner {planner} plans its own networks only; leave --planner out (or name one that "
                "measures, as `measured` does)"
            )


NO_CONSTRAINTS = PlanConstraints()


def fusions_of(
    levels: str | Sequence[str] | None, groups: str | Sequence[Sequence[str]] | None
) -> tuple[Fusion | None, tuple[Fusion, ...]]:
    """``fusion`` and ``beside`` as the user has said them. Raises UsageError."""
    try:
        return read_levels(levels, groups or ())
    except ValueError as error:
        raise UsageError(str(error)) from None
