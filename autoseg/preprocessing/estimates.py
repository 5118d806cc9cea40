"""What filters find slowly, kept in the workspace: a bias field is computed once for all configurations.

A file is named by a hash of all that its content follows from: the voxels that the filter was given, their spacing, and
the filter with its settings. What is damaged is found anew.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import FILTERS
from ..core.files import atomic_file
from ..core.records import to_json

VERSION = 1  # raise it when a filter of the same name and settings finds something else
NAME, OF = "estimate", "of"  # and the digest of what it was found in: a file may lie in the place of another
LARGEST_VALUE, HEADERS = 8, 4096  # bytes: of an estimate there is at most one value for each voxel


@dataclass(frozen=True)
class Estimates:
    """Those of one dataset."""

    folder: Path | None
    """None: nothing is kept."""

    def applied(self, part: Any, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """``part.apply(channel, spacing)``, bit by bit, with what is slow taken from the folder if it is there."""
        if self.folder is None or not hasattr(part, "estimate"):
            return _float32(part.apply(channel, spacing))
        digest = _digest(part, channel, spacing)
        path = self.folder / f"{digest}.npz"
        found = _recall(path, digest, channel.size)
        if found is None:
            found = part.estimate(channel, spacing)
            with atomic_file(path, durable=False) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **{OF: np.array(digest), NAME: found})
        return _float32(part.apply_estimate(channel, spacing, found))


NOT_KEPT = Estimates(None)


def _float32(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float32)


def _digest(part: Any, channel: np.ndarray, spacing: Sequence[float]) -> str:
    asked = [VERSION, FILTERS.name_of(part), to_json(part), channel.shape, str(channel.dtype), [*map(float, spacing)]]
    digest = hashlib.sha256(json.dumps(asked).encode())
    digest.update(np.ascontiguousarray(channel).tobytes())
    return digest.hexdigest()[:32]


def _recall(path: Path, digest: str, voxels: int) -> np.ndarray | None:
    """What was kept under this digest, for a channel of so many voxels; None where there is nothing, nothing whole, or
    something else in its place."""
    try:
        with zipfile.ZipFile(path) as archive:  # numpy reads no checksum where a header tells of fewer voxels
            small = sum(entry.file_size for entry in archive.infolist()) <= LARGEST_VALUE * voxels + HEADERS
            if not small or archive.testzip() is not None:
                return None
        with np.load(path, allow_pickle=False) as arrays:
            found: np.ndarray | None = arrays[NAME] if str(arrays[OF]) == digest else None
        return found
    except Exception:  # whatever a changed byte made of it: no two are alike
        return None
