"""How far channels lie beside each other although their headers put them together: measured on a few cases.

A channel that was taken at another visit, or before the patient moved, is off by some millimetres that no header knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from ..alignment.record import RIGID, Alignment, Registration
from ..alignment.registration import register
from ..core.names import short
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.records import read_json, write_json
from ..data.dataset import Case, Dataset
from ..data.fingerprint import CaseFingerprint
from ..data.images import read_case
from ..errors import DatasetError, ImageFileError, RecordError
from .outliers import ALL
from .problem import Problem

FEW = 5  # cases that are looked at
NOTICED = 2.0
"""Millimetres at the farthest corner from which on a shift is told: a quick registration of channels that lie together
finds less."""
FEWEST = 8  # voxels along every axis, below which nothing can be said
VERSION = 1  # raise it when measuring the same voxels gives something else


@dataclass(frozen=True)
class _Shifts:
    """What is remembered of one dataset."""

    question: str
    cases: dict[str, tuple[float | None, ...]]
    """By the content of a case's files."""


def with_shifts(
    dataset: Dataset, cases: Mapping[str, CaseFingerprint], folder: Path, workers: int
) -> dict[str, CaseFingerprint]:
    """The fingerprints, in ``FEW`` of them how far a quick registration moves each channel.

    Where channels are registered anyway, or there is only one, nothing is done. ``folder`` remembers.
    """
    found = dict(cases)
    registers = dataset.alignment is not None and dataset.alignment.registers
    usable = [case for case in dataset.cases if case.key in cases and cases[case.key].orientation is not None]
    several = [case for case in usable if len(case.images) - len(case.absent) > 1]
    if registers or not several:
        return found
    few = [several[index * len(several) // FEW] for index in range(FEW)] if len(several) > FEW else several
    path, question = folder / "shifts.json", repr((VERSION, dataset.alignment))
    known = _recalled(path, question)
    todo = [case for case in few if cases[case.key].content not in known]
    if todo:
        measure = partial(_measured, alignment=dataset.alignment)
        made = progress(ordered_map(measure, todo, workers), len(todo), "comparing channels")
        known |= {cases[case.key].content: shifts for case, shifts in zip(todo, made)}
        kept = {cases[case.key].content: known[cases[case.key].content] for case in few}
        write_json(path, _Shifts(question, kept), durable=False, sealed=True)
    for case in few:
        found[case.key] = replace(found[case.key], shifts=known[cases[case.key].content])
    return found


def _recalled(path: Path, question: str) -> dict[str, tuple[float | None, ...]]:
    if not path.is_file():
        return {}
    try:
        found = read_json(path, _Shifts)
    except RecordError:
        return {}
    return dict(found.cases) if found.question == question else {}


def _measured(case: Case, *, alignment: Alignment | None) -> tuple[float | None, ...]:
    """Per channel the mm of a quick registration that helps; None for the others."""
    first = case.reference(alignment)
    asked = Alignment(first, RIGID)
    try:
        image = read_case(case, alignment)
    except (DatasetError, ImageFileError):  # replaced meanwhile
        return (None,) * len(case.images)
    shifts: list[float | None] = []
    for number, channel in enumerate(image.array):
        moved = None
        if number != first and number not in image.absent and min(channel.shape) >= FEWEST:
            moved = register(image.array[first], image.geometry, channel, image.geometry, asked, quick=True)
        shifts.append(moved.displacement if moved and moved.used else None)
    return tuple(shifts)


def shifted(cases: Mapping[str, CaseFingerprint], dataset: Dataset) -> list[Problem]:
    """A note for each channel that lies off the reference in a third or more of the cases that were looked at."""
    problems = []
    reference = 0 if dataset.alignment is None else dataset.alignment.reference
    looked = [case for case in cases.values() if case.shifts and reference not in case.absent]
    for number, name in enumerate(dataset.channels):
        there = [case.shifts[number] for case in looked if number not in case.absent]
        far = [shift for shift in there if shift is not None and shift >= NOTICED]
        if far and 3 * len(far) >= len(there):
            what = (
                f"channel {number} ({short(name, 40)}) lies about {median(far):.1f} mm (at most {max(far):.1f}) beside "
                f"{short(dataset.channels[reference], 40)} in {len(far)} of {len(there)} cases that were looked at"
            )
            problems.append(Problem(ALL, "", what, ALIGN, severity="note"))
    return problems


ALIGN = (
    "`autoseg plan_and_preprocess DATASET --align rigid` registers every channel to the reference, in training as in "
    "prediction. Look at a case first: where two channels show different things, a quick registration may be wrong."
)


def not_registered(case: Case, registrations: Sequence[Registration | None]) -> list[Problem]:
    """Channels whose registration is no better than their header."""
    cure = "Fine where channels lay together already: a channel whose registration does not help stays where it is."
    return [
        Problem(case.key, "", f"channel {number} is not registered: {found.told}", cure, severity="note")
        for number, found in enumerate(registrations)
        if found is not None and not found.used
    ]
