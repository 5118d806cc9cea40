"""How well probabilities of validation cases are calibrated: counted where they are kept, a few slices at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..core.names import counted
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.records import write_json
from ..data.dataset import Case
from ..data.label_maps import read_label_map
from ..errors import AutosegError, DatasetError
from ..evaluation.calibration import Bins, Calibration, binned
from ..inference.stored_probabilities import StoredProbabilities, open_stored
from ..preprocessing.spatial import not_resampled
from ..run_folder import RunFolder

LOG = logging.getLogger("autoseg")
COUNTED_AT_ONCE = 1 << 20  # voxels


def calibrate(folder: RunFolder, cases: Sequence[Case], labels: Labels, workers: int) -> None:
    """Writes ``calibration.json`` for cases that were validated before there was such a file.

    Nothing depends on it: where it cannot be made, a warning says why.
    """

    def count(case: Case) -> dict[str, Bins]:
        stored = open_stored(folder.kept(case.key))
        return count_bins(stored, read_label_map(case.label_files, labels, stored.geometry)[0], labels)

    try:
        found = progress(ordered_map(count, cases, workers), len(cases), "counting probabilities")
        write_calibration(folder, dict(zip((case.key for case in cases), found)))
    except (AutosegError, OSError) as error:
        LOG.warning("how well the probabilities are calibrated is not known: %s", error)
    else:
        LOG.info("calibration of %s: %s", counted(len(cases), "case"), folder.calibration)


def write_calibration(folder: RunFolder, found: Mapping[str, dict[str, Bins]]) -> None:
    """Writes ``calibration.json``."""
    write_json(folder.calibration, Calibration(dict(found)), sealed=True)


def count_bins(stored: StoredProbabilities, reference: np.ndarray, labels: Labels) -> dict[str, Bins]:
    """Label to its voxels by probability; ``reference`` holds the user's values (z, y, x) on the file's grid.

    Voxels that were cropped away before the network saw the image, and ignored ones, are left out. Raises DatasetError
    for a reference of another shape.
    """
    if reference.shape != stored.geometry.shape:
        raise DatasetError(f"case {stored.path.stem}: its labels have changed since it was predicted; train again")
    inner = stored.before.apply(reference, not_resampled)
    names = list(labels.foreground)
    before = labels.heads - len(names)  # of labels that exclude each other the background is a head, too
    counts = np.zeros((len(names), 2, stored.one + 1), np.int64)
    for start in range(0, stored.shape[1], stored.thickness):
        rows = slice(start, start + stored.thickness)
        codes, there = stored.read(rows).numpy(), inner[rows]
        annotated = None if labels.ignore is None else there != labels.ignore
        for number, name in enumerate(names):
            code, has = codes[before + number], has_label(there, name, labels)
            if annotated is not None:
                code, has = code[annotated], has[annotated]
            _count(counts[number, 0], code.reshape(-1))
            _count(counts[number, 1], code[has])
    return {name: binned(*each) for name, each in zip(names, counts)}


def has_label(values: np.ndarray, name: str, labels: Labels) -> np.ndarray:
    """Which voxels of the user's values are of the label."""
    if isinstance(labels, MaskLabels):
        return (values & values.dtype.type(labels.bit(name))) != 0
    members = labels.foreground[name]
    found: np.ndarray = values == members[0] if len(members) == 1 else np.isin(values, members)
    return found


def _count(counts: np.ndarray, codes: np.ndarray) -> None:
    """Adds to the counts (codes,) how often each code occurs; numpy makes 64-bit numbers of what it counts."""
    for start in range(0, codes.size, COUNTED_AT_ONCE):
        counts += np.bincount(codes[start : start + COUNTED_AT_ONCE], minlength=len(counts))
