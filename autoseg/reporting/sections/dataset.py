"""What was given: cases and their problems, channels, sizes and values, labels and their balance over the folds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...data.fingerprint import Fingerprint
from ...data.folds import Folds
from ...errors import AutosegError
from ...pipeline.check import check
from ...settings import RunSettings
from ..blocks import Block, Cell, Column, Facts, Group, Groups, Notice, Ranges, Spans, Swarm, Table, number
from ..cases import PIXELS, Shown, is_flat, pictures, unit
from ..counted import counted
from ..source import Source
from . import Part

AXES = ("z", "y", "x")
MOST_LABELS = 40  # in one plot
MOST_COLUMNS = 12  # of labels in the table of folds
KINDS = {
    "exclusive": "one per voxel",
    "regions": "regions, which unite values",
    "masks": "masks, which may overlap",
}
Sizes = Mapping[str, Mapping[str, float]]


def blocks(source: Source) -> list[Block]:
    """First what is wrong, then what there is."""
    fingerprint, folds = source.fingerprint, source.folds
    found: list[Block] = [_facts(source), *_problems(source)]
    if fingerprint is None:
        found.append(Notice("The images were not measured yet; run `autoseg plan_and_preprocess`."))
    else:
        found += [*_channels(source), _grids(fingerprint), *_intensities(source, fingerprint)]
    measured, wrong = counted(source).sizes, counted(source).wrong
    if wrong:
        found.append(Notice(f"{len(wrong)} label maps cannot be read; the first: {wrong[0]}"))
    if measured:
        of = unit(list(fingerprint.cases.values())) if fingerprint else "ml"
        found.append(_label_sizes(measured, of))
        found += [_fold_table(folds, measured), _balance(folds, measured, of)] if folds else []
        found += _pictures(source, measured, of)
    return found


def _facts(source: Source) -> Facts:
    dataset, folds = source.dataset, source.folds
    rows = [
        ("cases", str(len(dataset.cases))),
        ("channels", ", ".join(dataset.channels)),
        ("labels", ", ".join(dataset.labels.foreground)),
        ("kind of labels", KINDS[dataset.labels.KIND]),
        ("not annotated", "" if dataset.labels.ignore is None else f"voxels of value {dataset.labels.ignore}"),
        ("files", dataset.file_ending),
        ("patients", str(len(set(folds.patients.values()))) if folds and folds.patients else ""),
        ("folds", str(len(folds.folds)) if folds else ""),
        ("licence", dataset.licence),
        ("citation", dataset.citation),
    ]
    return Facts(tuple((name, value) for name, value in rows if value))


def _problems(source: Source) -> list[Block]:
    try:
        found, _ = check(source.dataset, source.files, fix=False, settings=RunSettings(threads=source.threads))
    except (AutosegError, OSError) as error:
        return [Notice(f"The cases could not be checked: {source.told(error)}")]
    if not found:
        return [Facts((("problems", "none: names, headers, grids and values of all cases were compared"),))]
    ordered = sorted(found, key=lambda problem: (problem.severity, problem.case))
    rows = tuple(
        (problem.severity, problem.case, problem.file, source.without_folders(problem.what), problem.cure)
        for problem in ordered
    )
    columns = (Column("kind", chosen=True), Column("case"), Column("file"), Column("what"), Column("what to do"))
    note = "An error stops planning; a note is worth knowing and stops nothing."
    return [Table("Problems", columns, rows, note)]


def _channels(source: Source) -> list[Block]:
    """Which are there in how many cases; nothing where all are."""
    cases, names = source.dataset.cases, source.dataset.channels
    if not any(case.absent for case in cases):
        return []
    rows = []
    for number_, name in enumerate(names):
        there = sum(number_ not in case.absent for case in cases)
        rows.append((name, float(there), number(100 * there / len(cases))))
    lacking = tuple((case.key, ", ".join(names[channel] for channel in case.absent)) for case in cases if case.absent)
    columns = (Column("channel"), Column("cases that have it", number=True), Column("share (%)", number=True))
    return [
        Table("Availability of channels", columns, tuple(rows), filtered=False),
        Table("Cases that lack channels", (Column("case"), Column("lacks")), lacking),
    ]


def _grids(fingerprint: Fingerprint) -> Swarm:
    cases = fingerprint.cases
    flat = all(is_flat(case.spacing) for case in cases.values())
    axes = list(enumerate(AXES))[1 if flat else 0 :]

    def groups(name: str, value: Mapping[str, Sequence[float]]) -> Groups:
        each = tuple(Group(axis, tuple(number(value[key][n]) for key in cases), tuple(cases)) for n, axis in axes)
        return Groups(name, each, low=0.0)

    field = {key: [size * step for size, step in zip(case.shape, case.spacing)] for key, case in cases.items()}
    choices = (
        groups("voxel size (mm)", {key: case.spacing for key, case in cases.items()}),
        groups("size (voxels)", {key: case.shape for key, case in cases.items()}),
        groups("field of view (mm)", field),
        groups("size without empty borders (voxels)", {key: case.cropped_shape for key, case in cases.items()}),
    )
    if unit(list(cases.values())) == PIXELS:
        return Swarm("Grids", choices[1::2], "In pixels: x counts columns, y rows.")
    return Swarm("Grids", choices, "Axes as they lie in the files: x is the first axis of a NIfTI file, z its third.")


def _intensities(source: Source, fingerprint: Fingerprint) -> list[Block]:
    choices = []
    for channel, name in enumerate(source.dataset.channels):
        known = {
            key: each
            for key, case in fingerprint.cases.items()
            if channel < len(case.channels) and (each := case.channels[channel]) is not None
        }
        ordered = sorted(known, key=lambda key: (known[key].median, known[key].high))
        if ordered:
            low, middle, high = (
                tuple(number(getattr(known[key], what)) for key in ordered) for what in ("low", "median", "high")
            )
            choices.append(Spans(name, tuple(ordered), low, middle, high))
    note = "A line per case from the 1st to the 99th percentile of its voxels, the point is the median; sorted by it."
    return [Ranges("Intensities", "value in the file", tuple(choices), note)] if choices else []


def _label_sizes(measured: Sizes, of: str) -> Swarm:
    labels = _rarest(measured, MOST_LABELS)
    groups = tuple(
        Group(label, tuple(number(case[label] or None) for case in measured.values()), tuple(measured))
        for label in labels
    )
    empty = {label: sum(not case[label] for case in measured.values()) for label in labels}
    told = ", ".join(f"{label} in {count}" for label, count in empty.items() if count)
    note = f"Cases without a label have no point: {told}." if told else "Every case has every label."
    note += _told(measured, MOST_LABELS)
    return Swarm(f"Size per label ({of})", (Groups(f"size ({of})", groups, log=True),), note)


def _rarest(measured: Sizes, most: int) -> list[str]:
    """The labels that fewest cases have, in their order."""
    labels = list(next(iter(measured.values())))
    held = {label: sum(case[label] > 0 for case in measured.values()) for label in labels}
    taken = set(sorted(labels, key=lambda label: held[label])[:most])
    return [label for label in labels if label in taken]


def _told(measured: Sizes, most: int) -> str:
    count = len(next(iter(measured.values())))
    return f" The rarest {most} of {count} labels." if count > most else ""


def _fold_table(folds: Folds, measured: Sizes) -> Table:
    labels = _rarest(measured, MOST_COLUMNS)
    patients = [Column("patients", number=True)] if folds.patients else []
    columns = [Column("fold"), Column("trains on", number=True), Column("validates on", number=True), *patients]
    columns += [Column(label, number=True, hint="validation cases that have it") for label in labels]
    rows: list[tuple[Cell, ...]] = []
    for place, fold in enumerate(folds.folds):
        whose = [float(len({folds.patients[key] for key in fold.validation}))] if folds.patients else []
        held = [float(sum(measured[key][label] > 0 for key in fold.validation if key in measured)) for label in labels]
        rows.append((str(place), float(len(fold.train)), float(len(fold.validation)), *whose, *held))
    note = f"Cases; below a label those validation cases that have it.{_told(measured, MOST_COLUMNS)}"
    return Table("Folds", tuple(columns), tuple(rows), note, filtered=False)


def _balance(folds: Folds, measured: Sizes, of: str) -> Swarm:
    labels = list(next(iter(measured.values())))
    choices = []
    for label in labels:
        groups = []
        for place, fold in enumerate(folds.folds):
            keys = [key for key in fold.validation if key in measured]
            groups.append(
                Group(f"fold {place}", tuple(number(measured[key][label] or None) for key in keys), tuple(keys))
            )
        choices.append(Groups(f"{label} ({of})", tuple(groups), log=True))
    return Swarm("Size per label in the validation cases of each fold", tuple(choices))


def _pictures(source: Source, measured: Sizes, of: str) -> list[Block]:
    """The cases with the least, the median and the most of all labels."""
    whole = {key: sum(case.values()) for key, case in measured.items()}
    known = {case.key: case for case in source.dataset.cases}
    ranked = sorted((key for key in whole if key in known), key=lambda key: (whole[key], key))
    if not ranked:
        return []
    chosen = {ranked[len(ranked) // 2]: "the median", ranked[0]: "the least", ranked[-1]: "the most"}
    middle = statistics.median(whole.values())
    shown = [
        Shown(known[key], f"{why} of all labels: {whole[key]:.4g} {of} (median {middle:.4g})")
        for key, why in chosen.items()
    ]
    note = "Slices with the most labelled voxels."
    return pictures(source, "Cases with their labels", shown, note)


def made_of(source: Source) -> list[Path]:
    """What was measured."""
    return [source.files.dataset, source.files.fingerprint, source.files.folds]


SECTION = Part(30, "Dataset", blocks, made_of)
