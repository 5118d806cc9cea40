"""What a user may decide about a prediction; nothing here changes what the model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError

TTA = ("auto", "none", "full")
STEP = 0.5  # as nnU-Net v2 2.8.1
MOST_SAMPLES = 1000


@dataclass(frozen=True)
class PredictOptions:
    """How the networks are moved over an image."""

    tta: str = "auto"
    """Test-time augmentation: ``full`` averages over all mirror images that training saw, ``none`` over none; ``auto``
    mirrors unless the model's cross-validation has found that it does not pay."""
    step: float = STEP
    """Distance between patches, as a share of the patch."""
    mc_dropout: int = 0
    """How many samples of its dropout each network is asked for, whose mean probability counts; 0: none, dropout is
    off."""
    calibrated: bool = False
    """Whether probabilities and their entropy are corrected by the temperatures that the model's cross-validation
    taught. Label maps are the same."""

    def __post_init__(self) -> None:
        if self.tta not in TTA:
            raise UsageError(f"tta {self.tta!r} is unknown; choose one of {', '.join(TTA)}")
        if not isinstance(self.step, int | float) or not 0 < self.step <= 1:
            raise UsageError(f"step must be above 0 and at most 1 (patches would leave gaps), found {self.step!r:.100}")
        whole = isinstance(self.mc_dropout, int) and not isinstance(self.mc_dropout, bool)
        if not whole or not 0 <= self.mc_dropout <= MOST_SAMPLES:
            raise UsageError(f"mc_dropout must be a whole number, 0 to {MOST_SAMPLES}, found {self.mc_dropout!r:.100}")

    def mirror_axes(self, trained: Sequence[int], pays: bool | None) -> tuple[int, ...]:
        """The axes to mirror along. ``pays`` is what cross-validation found, None where nobody has measured it."""
        mirrors = self.tta == "full" or (self.tta == "auto" and pays is not False)
        return tuple(trained) if mirrors else ()


DEFAULT = PredictOptions()
