"""What an earlier stage predicted, on the grid of the next one: a file of label indices per training case.

Chunked and compressed as the prepared cases are, so that a patch is read alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_file
from ..core.geometry import Box
from ..core.labels import Labels
from .locations import Locations
from .spatial import SpatialRecord
from .store import CHUNK_EDGE, StoredCase, read_array, write_array

CONTENT = "content"


def on_grid(label_map: np.ndarray, record: SpatialRecord, labels: Labels, resampler: Any) -> np.ndarray:
    """``label_map`` (z, y, x), the user's values on the file's grid, as label indices on the grid ``record`` leads to.

    Raises DatasetError for values that ``labels`` does not know.
    """
    before, resampling = record.split()
    cropped = labels.encode(before.apply(label_map, resampler.resample_labels))
    return np.ascontiguousarray(resampling.apply(cropped, resampler.resample_labels))


@dataclass(frozen=True)
class CaseWithPrior:
    """A prepared case and what an earlier stage predicted for it; reading is safe from several threads at once."""

    case: StoredCase
    prior: Path

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) on the network's grid."""
        return self.case.shape

    @property
    def channels(self) -> int:
        return self.case.channels

    @property
    def foreground(self) -> Locations:
        """Where the labels of the reference are."""
        return self.case.foreground

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Image (channels, *box) and two label maps (2, *box): the reference and the prediction."""
        image, labels = self.case.read(box)
        return image, np.stack((labels, read_array(self.prior, box.slices)))


@dataclass(frozen=True)
class PriorStore:
    """The predictions for one configuration."""

    folder: Path
    patch_size: tuple[int, ...] = (CHUNK_EDGE,) * 3
    """What will be read at once; shapes the chunks that are written, nothing else."""

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.b2nd"

    def content(self, key: str) -> str | None:
        """The content key the prediction was written with; None where there is none."""
        import blosc2

        try:
            stored = blosc2.open(str(self.path(key)), mode="r")
            return str(stored.schunk.vlmeta[CONTENT])
        except (OSError, RuntimeError, ValueError, KeyError):
            return None

    def write(self, key: str, indices: np.ndarray, content_key: str) -> None:
        """Writes one case's label indices (z, y, x), all or nothing."""
        with atomic_file(self.path(key), durable=False) as temporary:
            write_array(temporary, indices, self.patch_size, {CONTENT: content_key})
