"""The fingerprint of a dataset: every case scanned once, remembered in a file, and never read again while unchanged."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np

from ..alignment import record
from ..core.digests import content_hash
from ..core.files import atomic_file
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.records import from_json, to_json
from ..data.dataset import Case, Dataset
from ..data.fingerprint import CaseFingerprint, Fingerprint, Intensities, usual_orientation
from ..data.folds import Folds
from .alignments import Headers
from .brightness import bias_fields
from .check import check_headers
from .modalities import undeclared_ct
from .moments import pooled, turned
from .outliers import absent_labels, copies, untrained_labels, unusual_values
from .problem import Problem
from .scan import Scan, scan_case, scan_voxels
from .shifts import shifted, with_shifts

VERSION = 6  # raise it when scanning the same files gives something else


def check_dataset(
    dataset: Dataset, measured_folder: Path, workers: int, folds: Folds | None = None, headers: Headers | None = None
) -> tuple[Fingerprint, list[Problem]]:
    """What was measured of the cases without errors, and every problem of every case, in headers and in voxels.

    Of ``folds``, where there are any, it is said which of them trains without a label. ``headers`` may have been read
    before.
    """
    in_headers = check_headers(dataset, workers, headers)
    broken = {problem.case for problem in in_headers if problem.severity == "error"}
    fingerprint, found = extract_fingerprint(dataset, measured_folder, workers, unfit=broken)
    if folds is not None:
        found += untrained_labels(fingerprint, dataset.labels, folds)
    return fingerprint, in_headers + [problem for problem in found if problem.case not in broken]


def extract_fingerprint(
    dataset: Dataset, measured_folder: Path, workers: int, *, unfit: Collection[str] | None = None
) -> tuple[Fingerprint, list[Problem]]:
    """Scans every case, or takes what ``measured_folder`` remembers of it, and sums up.

    ``unfit`` are the cases that ``check_headers`` found errors in; they are left out. None: headers were not checked,
    and each case's are read before its voxels. Returns the problems of all cases; the fingerprint is meaningful only
    when no error is among them.
    """
    cases = [case for case in dataset.cases if case.key not in (unfit or ())]
    look = scan_case if unfit is None else scan_voxels
    scan = partial(_remembered_scan, look=look, dataset=dataset, folder=measured_folder, question=_question(dataset))
    scans = dict(
        zip((case.key for case in cases), progress(ordered_map(scan, cases, workers), len(cases), "measuring cases"))
    )
    problems = [problem for scan in scans.values() for problem in scan.problems]
    usable = {key: scan for key, scan in scans.items() if scan.fingerprint is not None}
    samples = [scan.intensities for scan in usable.values() if scan.intensities is not None and scan.intensities.size]
    if not samples and not unfit and not any(problem.severity == "error" for problem in problems):
        cure = "Check the label values in dataset.json and the label files: there is nothing to learn."
        problems.append(Problem("all cases", "", "no foreground voxel in any case", cure))
    fingerprints = {
        key: replace(scan.fingerprint, labels=_present(scan.moments))
        for key, scan in usable.items()
        if scan.fingerprint is not None
    }
    fingerprints = with_shifts(dataset, fingerprints, measured_folder, workers)
    usual = usual_orientation(case.orientation for case in fingerprints.values())
    moments = [
        turned(scan.moments, fingerprints[key].orientation, usual)
        for key, scan in usable.items()
        if scan.moments is not None
    ]
    structures = pooled(moments) if moments else ()
    fingerprint = Fingerprint(fingerprints, _intensities(samples) if samples else (), structures)
    problems += [*unusual_values(fingerprints, dataset.channels), *copies(fingerprints)]
    problems += undeclared_ct(fingerprints, dataset.channels)
    problems += bias_fields(fingerprints, dataset.channels)
    problems += shifted(fingerprints, dataset)
    problems += [] if unfit else absent_labels(fingerprint, dataset.labels)  # they may be in the cases left out
    return fingerprint, problems


def _present(moments: np.ndarray | None) -> tuple[int, ...] | None:
    """Indices of the labels that have a share of the voxels."""
    return None if moments is None else tuple((np.flatnonzero(~np.isnan(moments[:, 0])) + 1).tolist())


def _intensities(samples: list[np.ndarray]) -> tuple[Intensities, ...]:
    """Statistics per channel in which every case weighs the same, however large its structures are.

    nnU-Net v2 has the same weighting, by drawing equally many voxels from every case.
    """
    statistics = []
    for channel in range(len(samples[0])):
        having = [sample[channel] for sample in samples if not np.isnan(sample[channel, 0])]
        if not having:  # all cases that have it are left out
            statistics.append(Intensities(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
            continue
        weights = np.concatenate([np.full(len(each), 1 / len(each)) for each in having]) / len(having)
        values = np.concatenate(having).astype(np.float64)
        order = np.argsort(values)
        ascending, ranks = values[order], weights[order]
        # A voxel stands in the middle of its share of the weight, the outermost ones at 0 and 1: for equal weights
        # this is numpy's linear percentile.
        middles = np.cumsum(ranks) - ranks / 2
        places = (middles - middles[0]) / max(middles[-1] - middles[0], np.finfo(float).tiny)
        low, median, high = np.interp([0.005, 0.5, 0.995], places, ascending).tolist()
        mean = float(values @ weights)
        std = float(np.sqrt((values - mean) ** 2 @ weights))
        statistics.append(Intensities(mean, median, std, float(ascending[0]), float(ascending[-1]), low, high))
    return tuple(statistics)


def _remembered_scan(
    case: Case, *, look: Callable[[Case, Dataset], Scan], dataset: Dataset, folder: Path, question: str
) -> Scan:
    """A scan, from memory when the case's files are the same as then. Scans with errors are not remembered."""
    path = folder / f"{case.key}.npz"
    files = _file_states(case.files)
    memory = _recall(path)
    if memory is not None and memory[1]["question"] == question and memory[1]["paths"] == _paths(case):
        scan, stored = memory
        if stored["files"] == files:
            return scan
        content = scan.fingerprint and scan.fingerprint.content
        if files is not None and content and content_hash(*case.files) + case.picked == content:
            _remember(path, scan, case, question, files)
            return scan
    scan = look(case, dataset)
    # The state is that from before the reading: a file changed meanwhile will be read again.
    if files is not None and scan.fingerprint is not None:
        _remember(path, scan, case, question, files)
    return scan


def _question(dataset: Dataset) -> str:
    """What was asked of the files, besides the files themselves: another meaning of the labels asks again."""
    aligned = [] if dataset.alignment is None else [record.VERSION, to_json(dataset.alignment)]
    asked = [VERSION, to_json(dataset.labels), len(dataset.channels), *aligned]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _paths(case: Case) -> list[str]:
    """And what is taken of them."""
    return [*map(str, case.files), *([case.picked] if case.picked else [])]


def _file_states(files: Iterable[Path]) -> list[list[int]] | None:
    """Size and time of change of every file: as long as these stay, so does the content. None if one is not there, or
    is no file: reading a pipe never ends."""
    try:
        states = [path.stat() for path in files]
    except OSError:
        return None
    return (
        [[each.st_size, each.st_mtime_ns] for each in states] if all(S_ISREG(each.st_mode) for each in states) else None
    )


def _remember(path: Path, scan: Scan, case: Case, question: str, files: list[list[int]]) -> None:
    stored = {
        "question": question,
        "paths": _paths(case),
        "files": files,
        "problems": to_json(scan.problems),
        "fingerprint": to_json(scan.fingerprint),
    }
    with atomic_file(path, durable=False) as temporary, temporary.open("wb") as file:
        intensities, moments = np.asarray(scan.intensities), np.asarray(scan.moments)
        np.savez(file, intensities=intensities, moments=moments, record=np.array(json.dumps(stored)))


def _recall(path: Path) -> tuple[Scan, dict[str, Any]] | None:
    """What was remembered; None when there is nothing or it cannot be read, in which case the files are read again."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # numpy reads no checksum where a header tells of fewer voxels
            if archive.testzip() is not None:
                return None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            stored = json.loads(str(arrays["record"]))
            intensities, moments = arrays["intensities"], arrays["moments"]
        return Scan(
            problems=from_json(tuple[Problem, ...], stored["problems"]),
            fingerprint=from_json(CaseFingerprint, stored["fingerprint"]),
            intensities=intensities,
            moments=moments,
        ), stored
    except Exception:  # whatever a changed byte made of it: no two are alike
        return None
