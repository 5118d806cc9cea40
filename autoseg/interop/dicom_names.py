"""What DICOM studies are called: by the patients, which is for their users alone, or by names that say nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from .dicom_series import Series, Slice

Studies = Mapping[str, list[Series]]
"""Number of a study to its series."""


def study_names(studies: Studies, source: Path) -> dict[str, str]:
    """Study to the name that the source gives it: the patient's, or else the folder's below ``source``; numbered where
    there are several."""
    return _numbered(_patients(studies, source), studies)


def neutral_names(studies: Studies, source: Path) -> dict[str, str]:
    """Study to a name that says nothing about the patient: ``case_0f3a91c2d4``, numbered where there are several.

    It follows from the number of the patient's earliest study, which is long and names nobody: the same archive gets
    the same names again, whatever is added, and who has not the archive cannot turn them back.
    """
    patients, earliest = _patients(studies, source), dict[str, str]()
    for study in sorted(studies, key=lambda study: _age(study, studies)):
        earliest.setdefault(patients[study], study or patients[study])
    digests = {
        patient: hashlib.sha256(study.encode(errors="replace")).hexdigest()[:10] for patient, study in earliest.items()
    }
    return _numbered({study: f"case_{digests[patients[study]]}" for study in studies}, studies)


def place(studies: Studies, study: str, source: Path) -> str:
    """Where the files of a study lie below ``source``."""
    return _first(studies, study).path.parent.relative_to(source).as_posix()


def _patients(studies: Studies, source: Path) -> dict[str, str]:
    firsts = {study: _first(studies, study) for study in studies}
    return {study: one.tags["patient"] or _folder(one.path, source) for study, one in firsts.items()}


def _numbered(names: Mapping[str, str], studies: Studies) -> dict[str, str]:
    counts, seen, numbered = Counter(names.values()), Counter[str](), dict(names)
    for study in sorted(names, key=lambda study: _age(study, studies)):
        seen[names[study]] += 1
        if counts[names[study]] > 1:
            numbered[study] = f"{names[study]}_{seen[names[study]]}"
    return numbered


def _first(studies: Studies, study: str) -> Slice:
    return studies[study][0].slices[0]


def _age(study: str, studies: Studies) -> tuple[str, str]:
    return _first(studies, study).tags["date"], study


def _folder(path: Path, source: Path) -> str:
    below = path.relative_to(source).parts
    return below[0] if len(below) > 1 else source.absolute().name
