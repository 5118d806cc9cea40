"""Probabilities of one case in little space, for ensembles that nobody has thought of yet.

They are kept on the file's own voxels (in the network's order of axes, inside the box that was not cropped away), since
that is the one grid which all configurations share: averaging them needs no resampling. A number is 8 bits, or 16.
Rounding never changes the decision: where two heads would become equal, the lower one gives way. Most of an image is
certain, so Blosc2 (bit shuffle, zstd) leaves little of it. Beside each file lies a record of its grid and of what it
must be; it is compared before anything is unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.files import atomic_file, refuse_folder
from ..core.geometry import Geometry
from ..core.integrity import Mark, damage
from ..core.labels import Labels
from ..core.records import read_json, write_json
from ..errors import ImageFileError, RecordError
from ..preprocessing.arrays import read_array
from ..preprocessing.spatial import SpatialRecord

ENDING = ".b2nd"
CURE = "run `autoseg train` for this fold again, which predicts the case anew"
CHUNK_VOXELS = 1 << 18  # of one head
Take = Callable[[slice, torch.Tensor], None]
"""Is given the logits (rows, y, x, heads) of every range of slices, in order."""


@dataclass(frozen=True)
class StoredRecord:
    """What ``<case>.json`` says, beside ``<case>.b2nd``."""

    geometry: Geometry
    """The file's grid."""
    before: SpatialRecord
    """From the file's voxels to those that are kept: axes turned, borders cropped."""
    probabilities: Mark
    """What the file of probabilities must be."""
    labels: Mark | None = None
    """What the label map that was written with them must be; None: it has not been written."""
    further: tuple[Mark, ...] = ()
    """Where each mask is a file of its own, what those after the first must be."""


@dataclass(frozen=True)
class StoredProbabilities:
    """The probabilities of one case; reading is safe from several threads at once."""

    path: Path
    shape: tuple[int, int, int, int]
    """Heads and voxels (z, y, x): the file's voxels after the steps of ``before``."""
    bits: int
    record: StoredRecord

    @property
    def geometry(self) -> Geometry:
        """The file's grid."""
        return self.record.geometry

    @property
    def before(self) -> SpatialRecord:
        return self.record.before

    @property
    def one(self) -> int:
        """The code of probability 1."""
        return (1 << self.bits) - 1

    @property
    def thickness(self) -> int:
        """Slices that are stored together: the best unit of reading."""
        return _thickness(self.shape)

    def read(self, rows: slice) -> torch.Tensor:
        """Codes (heads, rows, y, x), uint8 or int32: probability times ``one``. Raises ImageFileError when damaged."""
        _refuse_damaged(self.path, self.record)
        codes = read_array(self.path, (slice(None), rows, slice(None), slice(None)))
        return torch.from_numpy(codes if self.bits == 8 else codes.astype(np.int32))


def open_stored(path: Path) -> StoredProbabilities:
    """Raises ImageFileError for a file that is missing or damaged."""
    try:
        record = read_json(record_of(path), StoredRecord)
    except RecordError as error:
        raise ImageFileError(f"case {path.stem}: {error}; {CURE}") from None
    array = _opened(path, record)
    return StoredProbabilities(path, array.shape, 8 * array.dtype.itemsize, record)


def record_of(path: Path) -> Path:
    """Where the record of kept probabilities lies."""
    return path.with_suffix(".json")


def stored_problem(path: Path, label_files: Sequence[Path]) -> str | None:
    """Why a case must be predicted again, None where it need not; empty where it never was, or not to its end."""
    if not record_of(path).exists():
        return ""
    try:
        record = read_json(record_of(path), StoredRecord)
    except RecordError as error:
        return str(error)
    marks = (record.probabilities, record.labels, *record.further)
    if record.labels is None or len(marks) != 1 + len(label_files):
        return ""
    wanted = zip((path, *label_files), marks)
    return next((f"{file} {found}" for file, mark in wanted if mark and (found := damage(file, mark))), None)


def note_label_map(path: Path, label_files: Sequence[Path]) -> None:
    """The case is complete: its label map, or all of its masks, have been written, too."""
    record = read_json(record_of(path), StoredRecord)
    first, *further = map(Mark.of, label_files)
    write_json(record_of(path), replace(record, labels=first, further=tuple(further)), durable=False, sealed=True)


@contextmanager
def storing(path: Path, record: SpatialRecord, geometry: Geometry, labels: Labels, bits: int = 8) -> Iterator[Take]:
    """Yields what must be given every slab of logits, in order; then ``path`` and its record are there, complete.

    ``record`` is that of the case, whose last step, the resampling, export has undone.
    """
    import blosc2

    before, resampling = record.split()
    shape = (labels.heads, *resampling.shape)
    compression: dict[str, Any] = {
        "codec": blosc2.Codec.ZSTD,
        "clevel": 1,
        "filters": [blosc2.Filter.BITSHUFFLE],
        "filters_meta": [0],
        "nthreads": 1,
    }
    refuse_folder(record_of(path))
    record_of(path).unlink(missing_ok=True)
    with atomic_file(path, durable=False) as temporary:
        array = blosc2.empty(
            shape,
            np.dtype(f"u{bits // 8}"),
            chunks=(1, _thickness(shape), *shape[2:]),
            cparams=compression,
            urlpath=str(temporary),
            mode="w",
        )
        writer = _Writer(array, labels, bits)
        yield writer.take
        writer.finish()
    write_json(record_of(path), StoredRecord(geometry, before, Mark.of(path)), durable=False, sealed=True)


class _Writer:
    """Collects slabs until whole chunks can be written: a chunk that is written twice leaves a gap in the file."""

    def __init__(self, array: Any, labels: Labels, bits: int) -> None:
        self.array, self.labels, self.bits = array, labels, bits
        self.thickness = array.chunks[1]
        self.waiting: list[np.ndarray] = []
        self.written = 0

    def take(self, rows: slice, logits: torch.Tensor) -> None:
        codes = encoded(logits.movedim(-1, 0), self.labels, self.bits)
        self.waiting.append(codes.cpu().numpy().astype(self.array.dtype, copy=False))
        complete = (rows.stop - self.written) // self.thickness * self.thickness
        if complete:
            self._write(complete)

    def finish(self) -> None:
        if self.waiting:
            self._write(self.array.shape[1] - self.written)

    def _write(self, count: int) -> None:
        codes = self.waiting[0] if len(self.waiting) == 1 else np.concatenate(self.waiting, axis=1)
        self.array[:, self.written : self.written + count] = np.ascontiguousarray(codes[:, :count])
        self.written += count
        self.waiting = [codes[:, count:]] if codes.shape[1] > count else []


def encoded(logits: torch.Tensor, labels: Labels, bits: int) -> torch.Tensor:
    """Probabilities times the largest ``bits``-bit number, rounded so that the decision stays, uint8 or int32."""
    one = (1 << bits) - 1
    kind = torch.uint8 if bits == 8 else torch.int32
    codes = labels.probabilities(logits, 0).mul_(one).round_()
    if not labels.exclusive:
        above = logits > 0  # a region is on from one half, which lies between two codes
        return torch.where(above, codes.clamp(min=one // 2 + 1), codes.clamp(max=one // 2)).to(kind)
    codes = codes.to(kind)
    top = codes.amax(0, keepdim=True).clamp_(min=1)
    codes -= (codes == top).to(kind)
    return codes.scatter_(0, logits.argmax(0, keepdim=True), top)


def mean_logits(codes: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Mean probabilities (heads, ...), 0 to 1, as logits that have these probabilities and the same decision.

    Weights that sum to 1 may sum to a little more in float32, of which there would be no logit.
    """
    return codes.log() if labels.exclusive else codes.clamp(max=1).logit()


def _thickness(shape: tuple[int, ...]) -> int:
    return min(shape[1], max(1, CHUNK_VOXELS // (shape[2] * shape[3])))


def _refuse_damaged(path: Path, record: StoredRecord) -> None:
    if found := damage(path, record.probabilities):
        raise ImageFileError(f"case {path.stem}: {path} {found}; {CURE}")


def _opened(path: Path, record: StoredRecord) -> Any:
    import blosc2

    _refuse_damaged(path, record)
    try:
        return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
    except (RuntimeError, OSError, ValueError) as error:
        raise ImageFileError(f"case {path.stem}: {path} cannot be read ({error}); {CURE}") from None
