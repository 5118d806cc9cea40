"""One channel of a case, and what brings each of the others onto its grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.geometry import Geometry
from ..errors import DatasetError
from ..parts.readers import resampling, unlike
from .grids import covered, resampled
from .record import Alignment, Registration
from .registration import register


@dataclass(frozen=True)
class Reference:
    """The channel that the others are brought onto."""

    channel: np.ndarray
    """(z, y, x)."""
    geometry: Geometry
    alignment: Alignment

    def aligned(
        self, channel: np.ndarray, geometry: Geometry, known: Registration | None = None
    ) -> tuple[np.ndarray, Registration | None]:
        """``channel`` (z, y, x) on this grid, and how it was registered, if that was asked for.

        A channel that lies here already, up to rounding in its header, is the one that was given. What is ``known`` of
        an earlier time is not computed anew. Raises DatasetError for a grid of another number of dimensions, and where
        both have no voxel in common.
        """
        wrong = unlike(self.geometry, geometry)
        if self.geometry.dimensions == 2 or geometry.dimensions == 2:
            if wrong:
                raise DatasetError(
                    f"lies on another grid ({'; '.join(wrong)}); only volumes are resampled by their headers, since "
                    "those of 2-D images seldom say where they lie. Resample one to the other, "
                    f"{resampling(nearest=False)}"
                )
            if self.alignment.registers:
                raise DatasetError("is 2-D; only volumes are registered")
            return channel, None
        if wrong and not covered(self.geometry, geometry):
            raise DatasetError(f"{NO_OVERLAP}: {'; '.join(wrong)}. {CURE}")
        found = None
        if self.alignment.registers:
            same = known is not None and known.alignment == self.alignment
            found = known if same else register(self.channel, self.geometry, channel, geometry, self.alignment)
        used = found if found is not None and found.used else None
        if used is None and not wrong:
            return channel, found
        return resampled(channel, geometry, self.geometry, used), found


NO_OVERLAP = "its field of view and that of the reference channel have no voxel in common"
CURE = "Correct the headers (origin, direction), or leave the case out"
