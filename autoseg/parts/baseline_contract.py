"""What a classical method promises: the Protocol of the family ``baselines``, as ``contracts`` has those of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from ..core.evidence import Hints, LabelledImage


@runtime_checkable
class Baseline(Protocol):
    """A classical method: segments an image without a network. Grids have two axes or three, spacings are mm."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def largest(self) -> int | None:
        """Voxels times labels that it takes at a time: larger images are made coarser, and only the part is looked at
        where training cases had labels. None: images of any size, of which it gets intensities alone, no ``hints``."""

    @property
    def slice_by_slice(self) -> bool:
        """Whether it sees the slices of a volume each by itself."""

    @property
    def one_channel(self) -> bool:
        """Whether it is given one channel only, the one whose intensities say most about the labels."""

    def candidates(self) -> Sequence[Any]:
        """This method with the settings that are tried where they are left open, the usual ones first."""

    def fitted(self, cases: Sequence[LabelledImage]) -> Any:
        """A candidate with what follows from training cases; one that learns nothing else is as it is."""

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        """Numbers (*grid) of labels, 0 the background, of scaled intensities (channels, *grid)."""
