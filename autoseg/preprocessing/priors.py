"""What an earlier stage predicted, on the grid of the next one: a file of label indices per training case.

Chunked and compressed as the prepared cases are, so that a patch is read alone. Beside each lies a record of what it
was made from and what it must be.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_file, refuse_folder
from ..core.geometry import Box
from ..core.integrity import Mark, damage
from ..core.labels import Labels, each_mask
from ..core.records import read_json, write_json
from ..errors import ImageFileError, RecordError
from .arrays import read_array, write_array
from .spatial import SpatialRecord
from .store import CHUNK_EDGE

LOG = logging.getLogger("autoseg")


def on_grid(label_map: np.ndarray, record: SpatialRecord, labels: Labels, resampler: Any) -> np.ndarray:
    """``label_map`` (z, y, x), the user's values on the file's grid, as label indices on the grid ``record`` leads to.

    Raises DatasetError for values that ``labels`` does not know.
    """
    before, resampling = record.split()
    cropped = labels.encode(before.apply(label_map, resampler.resample_labels))
    to_grid = partial(resampling.apply, method=resampler.resample_labels)
    return np.ascontiguousarray(each_mask(cropped, labels, to_grid))


@dataclass(frozen=True)
class PriorRecord:
    """What ``<case>.json`` says."""

    content: str
    """What the prediction was made from: equal means it need not be made again."""
    file: Mark
    """What the file of label indices must be."""


@dataclass(frozen=True)
class StoredPrior:
    """What an earlier stage predicted for one case; reading is safe from several threads at once."""

    path: Path
    mark: Mark
    """What the file must be."""

    def read(self, box: Box) -> np.ndarray:
        """Label indices (*box). Raises ImageFileError when the file is damaged."""
        if found := damage(self.path, self.mark):
            raise ImageFileError(
                f"case {self.path.stem}: {self.path} {found}. Run the same command again, which makes it anew"
            )
        return read_array(self.path, box.slices)


@dataclass(frozen=True)
class PriorStore:
    """The predictions for one configuration."""

    folder: Path
    patch_size: tuple[int, ...] = (CHUNK_EDGE,) * 3
    """What will be read at once; shapes the chunks that are written, nothing else."""

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.b2nd"

    def content(self, key: str) -> str | None:
        """The content key the prediction was written with; None where there is none, or a damaged one."""
        if not self._record(key).exists():
            return None
        try:
            stored = read_json(self._record(key), PriorRecord)
        except RecordError as error:
            found: str | None = str(error)
        else:
            found = damage(self.path(key), stored.file)
            if found is None:
                return stored.content
            found = f"{self.path(key)} {found}"
        LOG.warning("case %s: %s; it is made anew", key, found)
        return None

    def open(self, key: str) -> StoredPrior:
        """The prediction for one case. Raises RecordError where there is none, or a damaged one."""
        return StoredPrior(self.path(key), read_json(self._record(key), PriorRecord).file)

    def write(self, key: str, indices: np.ndarray, content_key: str) -> None:
        """Writes one case's label indices (z, y, x); where that is cut short, there is none."""
        refuse_folder(self._record(key))
        self._record(key).unlink(missing_ok=True)
        with atomic_file(self.path(key), durable=False) as temporary:
            write_array(temporary, indices, self.patch_size)
        write_json(self._record(key), PriorRecord(content_key, Mark.of(self.path(key))), durable=False, sealed=True)

    def _record(self, key: str) -> Path:
        return self.folder / f"{key}.json"
