"""Folders of DICOM files, however they are sorted: studies become cases, their series channels."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ...core.machine import cores
from ...core.names import path_name, short
from ...core.parallel import ordered_map
from ...core.progress import progress
from ...errors import DatasetError, ImageFileError
from ..conversion import ConversionOptions, Found, FoundCase, Source, label_source, numbered
from ..dicom_damage import SEARCHED, study_of
from ..dicom_names import neutral_names, place, study_names
from ..dicom_series import Series, Slice, by_study, is_dicom, read_slice

ENDINGS = (".dcm", ".ima")
MODALITIES = {"CT", "MR", "PT", "NM", "US", "OT"}  # a header may hold any word there
MOST_LISTED, LONGEST_NAME = 20, 64


@dataclass(frozen=True)
class Dicom:
    """A pattern is compared with the description of a series, whatever its case."""

    description: str = "DICOM series: studies become cases; --channel NAME=PATTERN chooses series by description"

    def find(self, source: Path, wanted: ConversionOptions) -> Found:
        """Every study below ``source``. Raises DatasetError when there is none, or it is open which series to take."""
        files = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
        files = [path for path in files if is_dicom(path) or path.suffix.lower() in ENDINGS]
        if not files:
            raise DatasetError(f"{source}: there is no DICOM file in it")
        read = list(progress(ordered_map(_read, files, cores()), len(files), "reading headers"))
        studies = by_study(item for item in read if isinstance(item, Slice))
        damaged = _by_study_of([item for item in read if isinstance(item, Damage)], studies)
        called = study_names(studies, source)
        names = called if wanted.keep_names else neutral_names(studies, source)
        channels = wanted.channels or _only_series(studies)
        cases, problems = [], [damage.what for damage in damaged.pop(None, [])]
        for study, series in studies.items():
            where = f"{shown(names[study])} ({place(studies, study, source)})"
            chosen = {name: _fitting(series, pattern) for name, pattern in channels.items()}
            wrong = [(name, found) for name, found in chosen.items() if len(found) != 1]
            if wrong or study in damaged:
                what = _wrong(wrong[0], channels, series) if wrong else damaged[study][0].what
                problems.append(f"{where}: {what}")
                continue
            label = _label(source, called[study], wanted)
            images: tuple[Source, ...] = tuple(found[0] for found in chosen.values())
            reference = None if label is None else label_source(label, wanted.labels, wanted)
            origin = {"patient": series[0].slices[0].tags["patient"], "study": study}
            cases.append(FoundCase(names[study], images, reference, origin | {"folder": place(studies, study, source)}))
        ordered = tuple(sorted(cases, key=lambda case: case.key))
        return Found(tuple(channels), ordered, tuple(problems), numbered(wanted.labels))


@dataclass(frozen=True)
class Damage:
    """A file that should be a slice."""

    path: Path
    what: str
    """A sentence that names it."""


def _read(path: Path) -> Slice | Damage | None:
    try:
        if is_dicom(path):
            return read_slice(path)
    except ImageFileError as error:
        return Damage(path, str(error))
    return Damage(path, f"{path}: is no DICOM file as its name says; copy it again or take it away")


def _by_study_of(damages: list[Damage], studies: dict[str, list[Series]]) -> dict[str | None, list[Damage]]:
    """Under the study of each: the one that the file names, or else all that have files beside it; None: no study's."""
    beside = defaultdict(set)
    for study, series in studies.items():
        for one in series:
            for item in one.slices:
                beside[item.path.parent].add(study)
    found: dict[str | None, list[Damage]] = defaultdict(list)
    for damage in damages:
        with damage.path.open("rb") as file:
            own = study_of(file.read(SEARCHED))
        for concerned in [own] if own in studies else beside[damage.path.parent] or [None]:
            found[concerned].append(damage)
    return found


def _only_series(studies: dict[str, list[Series]]) -> dict[str, str]:
    """One channel, called after its modality, where every study has one series. Raises DatasetError elsewhere."""
    modalities = {one.slices[0].tags["modality"] for series in studies.values() for one in series}
    if all(len(series) == 1 for series in studies.values()) and len(modalities) == 1:
        return {"image": "*"} if modalities.isdisjoint(MODALITIES) else {modalities.pop(): "*"}
    counts = Counter(shown(one.name) for series in studies.values() for one in series)
    listed = "\n".join(f"  {count:4d}  {name}" for name, count in counts.most_common(MOST_LISTED))
    more = f"\n  ... and {len(counts) - MOST_LISTED} others" if len(counts) > MOST_LISTED else ""
    raise DatasetError(
        f"choose series with --channel NAME=PATTERN; in {len(studies)} studies there are\n{listed}{more}"
    )


def _fitting(series: list[Series], pattern: str) -> list[Series]:
    return [one for one in series if fnmatchcase(one.name.lower(), pattern.lower())]


def _wrong(wrong: tuple[str, list[Series]], channels: dict[str, str], series: list[Series]) -> str:
    name, found = wrong
    there = short(", ".join(repr(shown(one.name)) for one in found or series), 500)
    if found:
        return f"{len(found)} series fit {channels[name]!r} for {name}: {there}; choose a narrower pattern"
    return f"no series fits {channels[name]!r} for {name}; there are {there}"


def _label(source: Path, called: str, wanted: ConversionOptions) -> Path | None:
    """``--label`` is a path, from the source or absolute, with ``{case}`` for what the source calls the case: the
    patient, or else the folder. It stays one name of a folder or file, whatever a header says."""
    if wanted.label is None:
        return None
    try:
        path_name(called, "case")
    except ValueError:
        called = re.sub(r"[^A-Za-z0-9_.-]+", "_", called).strip("_.")[:LONGEST_NAME] or "case"
    path = source / wanted.label.replace("{case}", called)
    return path if os.path.isfile(path) else None


def shown(name: str) -> str:
    """For a terminal."""
    return short(name if name.isprintable() else ascii(name), LONGEST_NAME)


CONVERSION = Dicom()
