"""What filters find slowly, kept in the workspace: a bias field is computed once for all configurations.

A file is named by a hash of all that its content follows from: the voxels that the filter was given, their spacing, and
the filter with its settings. It lies in a folder that is named by a hash of the case's files, so that what belongs to a
case or file that is gone can be told and removed. What is damaged is found anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import FILTERS
from ..core.files import atomic_file
from ..core.records import to_json
from ..data.fingerprint import Fingerprint

VERSION = 1  # raise it when a filter of the same name and settings finds something else
NAME, OF = "estimate", "of"  # and the digest of what it was found in: a file may lie in the place of another
ENDING = ".npz"
LARGEST_VALUE, HEADERS = 8, 4096  # bytes: of an estimate there is at most one value for each voxel


@dataclass(frozen=True)
class Estimates:
    """Those of one case."""

    folder: Path | None
    """None: nothing is kept."""

    def applied(self, part: Any, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """``part.apply(channel, spacing)``, bit by bit, with what is slow taken from the folder if it is there."""
        if self.folder is None or not hasattr(part, "estimate"):
            return _float32(part.apply(channel, spacing))
        digest = _digest(part, channel, spacing)
        path = self.folder / f"{digest}{ENDING}"
        found = _recall(path, digest, channel.size)
        if found is None:
            found = part.estimate(channel, spacing)
            with atomic_file(path, durable=False) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **{OF: np.array(digest), NAME: found})
        return _float32(part.apply_estimate(channel, spacing, found))


NOT_KEPT = Estimates(None)


def estimates_of(folder: Path, measured: Fingerprint) -> dict[str, Estimates]:
    """Those of every case that was measured, in a dataset's ``folder``."""
    return {key: Estimates(folder / case.content) for key, case in measured.cases.items()}


def remove_others(folder: Path, contents: Collection[str]) -> None:
    """Removes from a dataset's ``folder`` what was kept for other files than those whose hashes are ``contents``."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and path.name not in contents:
            if all(file.suffix == ENDING for file in path.iterdir()):
                shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == ENDING:  # as an earlier version kept them, of all cases side by side
            path.unlink(missing_ok=True)


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
