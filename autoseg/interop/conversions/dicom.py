"""Folders of DICOM files, however they are sorted: studies become cases, their series channels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ...core.machine import cores
from ...core.parallel import ordered_map
from ...core.progress import progress
from ...errors import DatasetError
from ..conversion import Found, FoundCase, Source, Wanted, label_source, numbered
from ..dicom_series import Series, by_study, is_dicom, read_slice, study_names


@dataclass(frozen=True)
class Dicom:
    """A pattern is compared with the description of a series, whatever its case."""

    description: str = "DICOM series: studies become cases; --channel NAME=PATTERN chooses series by description"

    def find(self, source: Path, wanted: Wanted) -> Found:
        """Every study below ``source``. Raises DatasetError when there is none, or it is open which series to take."""
        files = sorted(path for path in source.rglob("*") if path.is_file() and is_dicom(path))
        if not files:
            raise DatasetError(f"{source}: there is no DICOM file in it")
        read = progress(ordered_map(read_slice, files, cores()), len(files), "reading headers")
        studies = by_study(item for item in read if item is not None)
        names = study_names(studies, source)
        channels = wanted.channels or _only_series(studies)
        cases, problems = [], []
        for study, series in studies.items():
            key = names[study]
            chosen = {name: _fitting(series, pattern) for name, pattern in channels.items()}
            wrong = [(name, found) for name, found in chosen.items() if len(found) != 1]
            if wrong:
                problems.append(f"{key}: {_wrong(wrong[0], channels, series)}")
                continue
            label = _label(source, key, wanted)
            images: tuple[Source, ...] = tuple(found[0] for found in chosen.values())
            cases.append(FoundCase(key, images, None if label is None else label_source(label, wanted.labels)))
        ordered = tuple(sorted(cases, key=lambda case: case.key))
        return Found(tuple(channels), ordered, tuple(problems), numbered(wanted.labels))


def _only_series(studies: dict[str, list[Series]]) -> dict[str, str]:
    """One channel, called after its modality, where every study has one series. Raises DatasetError elsewhere."""
    modalities = {one.slices[0].tags["modality"] for series in studies.values() for one in series}
    if all(len(series) == 1 for series in studies.values()) and len(modalities) == 1:
        return {modalities.pop() or "image": "*"}
    counts = Counter(one.name for series in studies.values() for one in series)
    listed = "\n".join(f"  {count:4d}  {name}" for name, count in counts.most_common(40))
    raise DatasetError(f"choose series with --channel NAME=PATTERN; in {len(studies)} studies there are\n{listed}")


def _fitting(series: list[Series], pattern: str) -> list[Series]:
    return [one for one in series if fnmatchcase(one.name.lower(), pattern.lower())]


def _wrong(wrong: tuple[str, list[Series]], channels: dict[str, str], series: list[Series]) -> str:
    name, found = wrong
    there = ", ".join(repr(one.name) for one in found or series)
    if found:
        return f"{len(found)} series fit {channels[name]!r} for {name}: {there}; choose a narrower pattern"
    return f"no series fits {channels[name]!r} for {name}; there are {there}"


def _label(source: Path, key: str, wanted: Wanted) -> Path | None:
    """``--label`` is a path, from the source or absolute, with ``{case}`` for the name of the case."""
    if wanted.label is None:
        return None
    path = source / wanted.label.replace("{case}", key)
    return path if path.is_file() else None


CONVERSION = Dicom()
