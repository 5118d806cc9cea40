"""Folders of DICOM files, however they are sorted: studies become cases, their series channels."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
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
CHOOSE = "--series NUMBER (or UID) takes one, --newest the one that was acquired last"


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
        _refuse_unknown(studies, wanted, source)
        channels = wanted.channels or _only_series(studies, wanted)
        cases, problems = [], [damage.what for damage in damaged.pop(None, [])]
        for study, series in studies.items():
            where = f"{shown(names[study])} ({place(studies, study, source)})"
            chosen = {name: narrowed(_fitting(series, pattern), wanted) for name, pattern in channels.items()}
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


def _refuse_unknown(studies: dict[str, list[Series]], wanted: ConversionOptions, source: Path) -> None:
    """Raises DatasetError for a number or UID that no series has."""
    for each in wanted.series:
        if not any(one.called([each]) for series in studies.values() for one in series):
            numbers = sorted({one.slices[0].tags["number"] for series in studies.values() for one in series} - {""})
            there = short(", ".join(numbers), 300) or "none"
            raise DatasetError(f"no series in {source} has the number or UID {short(each)}; numbers there are {there}")


def _only_series(studies: dict[str, list[Series]], wanted: ConversionOptions) -> dict[str, str]:
    """One channel, called after its modality, where every study has one series, or one is chosen of them. Raises
    DatasetError elsewhere."""
    left = {study: _alike(series, wanted) for study, series in studies.items()}
    modalities = {one.slices[0].tags["modality"] for series in left.values() for one in series}
    if all(len(series) == 1 for series in left.values()) and len(modalities) == 1:
        return {"image": "*"} if modalities.isdisjoint(MODALITIES) else {modalities.pop(): "*"}
    counts = Counter(shown(one.name) for series in studies.values() for one in series)
    listed = "\n".join(f"  {count:4d}  {name}" for name, count in counts.most_common(MOST_LISTED))
    more = f"\n  ... and {len(counts) - MOST_LISTED} others" if len(counts) > MOST_LISTED else ""
    several = f"in {len(studies)} studies there are\n{listed}{more}{_copies(studies)}"
    raise DatasetError(f"choose series with --channel NAME=PATTERN; {several}")


def _alike(series: list[Series], wanted: ConversionOptions) -> list[Series]:
    """``narrowed``, but of series with different descriptions none is the newest."""
    of_one = len({one.name for one in series}) == 1
    return narrowed(series, wanted if of_one else replace(wanted, newest=False))


def _copies(studies: dict[str, list[Series]]) -> str:
    """What to do where one description is all there is, and a study has several series of it; else nothing."""
    names = {one.name for series in studies.values() for one in series}
    several = next((series for series in studies.values() if len(series) > 1), None)
    if len(names) > 1 or several is None:
        return ""
    return f"\nof one study there are {_listed(several)}; {CHOOSE}"


def narrowed(series: list[Series], wanted: ConversionOptions) -> list[Series]:
    """Of several series that fit, those that are chosen by number or UID, and of these the newest if that is wanted."""
    if len(series) > 1:
        series = [one for one in series if one.called(wanted.series)] or series
    if len(series) < 2 or not wanted.newest:
        return series
    latest = max(map(_age, series))
    return [one for one in series if _age(one) == latest]


def _age(one: Series) -> tuple[tuple[str, float], int]:
    """Later ones are larger; the number decides where the time does not."""
    (date, time), number = one.acquired, one.slices[0].tags["number"]
    seconds = float(time) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", time) else -1.0
    return (date, seconds), int(number) if re.fullmatch("[0-9]{1,12}", number) else -1


def _fitting(series: list[Series], pattern: str) -> list[Series]:
    return [one for one in series if fnmatchcase(one.name.lower(), pattern.lower())]


def _wrong(wrong: tuple[str, list[Series]], channels: dict[str, str], series: list[Series]) -> str:
    name, found = wrong
    if len({one.name for one in found}) < len(found):
        return f"{len(found)} series fit {channels[name]!r} for {name}: {_listed(found)}; {CHOOSE}"
    there = short(", ".join(repr(shown(one.name)) for one in found or series), 500)
    if found:
        return f"{len(found)} series fit {channels[name]!r} for {name}: {there}; choose a narrower pattern"
    return f"no series fits {channels[name]!r} for {name}; there are {there}"


def _listed(series: list[Series]) -> str:
    """Their names, with what tells them apart."""
    return short(", ".join(f"{shown(one.name)!r} ({shown(one.told())})" for one in series), 400)


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
