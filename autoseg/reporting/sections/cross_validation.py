"""How good trained networks are on cases that they have not seen: all finished folds of a configuration together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from ...core.estimate import Estimate
from ...data.label_maps import files_in
from ...evaluation.quality_table import QUALITY
from ...evaluation.scores import Summary, summarise
from ..blocks import Block, Column, Group, Groups, Heading, Notice, Points, Scatter, Swarm, Table, Text, number
from ..cases import PIXELS, Shown, pictures, unit, voxel_size
from ..source import Source
from . import Part
from ._calibration import calibrated
from ._confusion import confused
from ._risk import accepted

WORST = 5
ORDINALS = ("first", "second", "third", "fourth", "fifth")
MOST_TOLD = 5  # labels of a case in words
INTERVAL = ("95 % from", "95 % to")
MOST_LABELS = 40  # in one plot
NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95_mm": "HD95 (mm)",
    "assd_mm": "surface distance (mm)",
    "volume_error_percent": "volume error (%)",
    "reference_voxels": "reference (voxels)",
    "prediction_voxels": "prediction (voxels)",
}
HINTS = {
    "Dice": "overlap: 1 is perfect, 0 is none",
    "IoU": "intersection over union",
    "precision": "share of the predicted voxels that are right",
    "recall": "share of the reference's voxels that were found",
    "HD95 (mm)": "95th percentile of the Hausdorff distance",
    "surface distance (mm)": "average symmetric surface distance",
    "volume error (%)": "predicted minus true volume, in percent of the true one",
}
SHARES = ("dice", "iou", "precision", "recall", "nsd_")
Tables = Mapping[str, Mapping[str, Mapping[str, float | None]]]


def blocks(source: Source) -> list[Block]:
    """Of every configuration."""
    found: list[Block] = []
    for name in source.scored():
        summaries, wrong = source.summaries(name)
        shown: list[Block] = [*map(Notice, wrong), *(_configuration(source, name, summaries) if summaries else [])]
        found += [Heading(name), *shown] if shown else []
    if not found and source.scored():
        return [Notice("No fold has been validated yet; that happens at the end of its training.")]
    return found


def made_of(source: Source) -> list[Path]:
    """What validation has left, and what is looked up for it."""
    files = source.files
    runs = [run for runs in source.scored().values() for run in runs]
    of_runs = [path for run in runs for path in (run.scores, run.calibration, run.validation / QUALITY)]
    return [files.dataset, files.fingerprint, files.folds, *of_runs]


def _configuration(source: Source, name: str, summaries: Mapping[str, Summary]) -> list[Block]:
    whole = pooled(summaries, source.folds.patients if source.folds else {})
    if whole is None:
        return [Notice("Its folds hold no case that was scored.")]
    fold_of = {key: fold for fold, summary in summaries.items() for key in summary.cases}
    return [
        Text(_told(source, summaries, whole)),
        _means(whole, _is_picture(source, whole)),
        _swarm(whole),
        *_against_volume(source, whole),
        *confused(source, name),
        *calibrated(source, name, summaries),
        *accepted(source, name, whole, summaries),
        *_pictures(source, name, whole, fold_of),
        _cases(whole, fold_of),
    ]


def pooled(summaries: Mapping[str, Summary], patients: Mapping[str, str]) -> Summary | None:
    """The cases of all folds as one, with intervals that resample patients; None where there is no case.

    ``patients`` maps case to patient where the scores do not say who that is.
    """
    cases = {key: case for summary in summaries.values() for key, case in summary.cases.items()}
    if not cases:
        return None
    # Folds may have been scored by different versions, or before a label was renamed.
    labels = [label for label in next(iter(cases.values())) if all(label in case for case in cases.values())]
    rows = [case[label] for case in cases.values() for label in labels]
    if not rows:
        return None
    metrics = [name for name in rows[0] if all(name in row for row in rows)]
    scores = {
        key: {label: {name: _or_nan(case[label][name]) for name in metrics} for label in labels}
        for key, case in cases.items()
    }
    said = {key: patient for summary in summaries.values() for key, patient in summary.patients.items()}
    return summarise(scores, patients=said or patients)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def called(metric: str) -> str:
    """A metric's name for people."""
    if metric.startswith("nsd_"):
        return f"surface Dice ({metric.removeprefix('nsd_').removesuffix('mm')} mm)"
    return NAMES.get(metric, metric.replace("_", " "))


def _told(source: Source, summaries: Mapping[str, Summary], whole: Summary) -> str:
    count = len(source.folds.folds) if source.folds else None
    which = f"{len(summaries)} of {count} folds" if count else f"{len(summaries)} folds"
    patients = len(set(whole.patients.values()))
    whose = f" of {patients} patients" if patients else ""
    dice = whole.overall.get("dice")
    mean = f" The mean Dice over labels is {_interval(dice)}." if dice and dice.mean is not None else ""
    cases = f"{len(whole.cases)} case{'s' * (len(whole.cases) > 1)}{whose}"
    by = "resample patients" if patients else "resample cases, each taken for a patient"
    intervals = f" Intervals {by}." if dice and dice.low is not None else ""
    return f"{which} validated: {cases} that the networks had not seen.{mean}{intervals}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.3f} (too few patients for an interval)"
    return f"{estimate.mean:.3f} (95 % interval {estimate.low:.3f} to {estimate.high:.3f})"


def _is_picture(source: Source, whole: Summary) -> bool:
    """Whether pixels have no length."""
    measured = source.fingerprint.cases if source.fingerprint else {}
    return unit([measured[key] for key in whole.cases if key in measured]) == PIXELS


def _means(whole: Summary, picture: bool) -> Table:
    metrics = _measured(whole)
    columns = [Column("label"), Column("cases", number=True)]
    for metric in metrics:
        columns.append(Column(called(metric), number=True, hint=HINTS.get(called(metric), "")))
        columns += [Column(name, number=True) for name in INTERVAL] if metric == "dice" else []
    rows = []
    for label, estimates in [*whole.labels.items(), ("mean over labels", whole.overall)]:
        row: list[str | float | None] = [label, estimates[metrics[0]].cases]
        for metric in metrics:
            each = estimates[metric]
            row.append(number(each.mean))
            row += [number(each.low), number(each.high)] if metric == "dice" else []
        rows.append(tuple(row))
    note = "Means over cases, and the ends of the 95 % interval of the Dice."
    note += " A pixel of these pictures counts as 1 mm." if picture else ""
    return Table("Scores per label", tuple(columns), tuple(rows), note, filtered=False)


def _measured(whole: Summary) -> list[str]:
    """Metrics that say something beside voxels; pictures, for example, have no ml."""
    known = [name for name, each in whole.overall.items() if each.mean is not None or name == "dice"]
    return [name for name in known if not name.endswith("_voxels")] or list(whole.overall)


def _drawn_labels(whole: Summary) -> tuple[list[str], str]:
    """Those of which points are drawn, and what to say of the others."""
    dice = {label: estimates["dice"].mean for label, estimates in whole.labels.items()}
    ranked = sorted(dice, key=lambda label: 2.0 if dice[label] is None else dice[label] or 0.0)[:MOST_LABELS]
    told = f" The {MOST_LABELS} labels with the lowest Dice of {len(dice)}." if len(dice) > MOST_LABELS else ""
    return [label for label in dice if label in ranked], told


def _swarm(whole: Summary) -> Swarm:
    choices = []
    labels, told = _drawn_labels(whole)
    for metric in _measured(whole):
        groups = tuple(_group(whole.cases, label, metric) for label in labels)
        share = metric.startswith(SHARES)
        distance = metric.endswith("_mm")
        choices.append(Groups(called(metric), groups, low=0.0 if distance else None, high=1.0 if share else None))
    return Swarm("Scores of all cases", tuple(choices), f"A point is a case; the box holds the middle half.{told}")


def _group(cases: Tables, label: str, metric: str) -> Group:
    return Group(label, tuple(number(case[label][metric]) for case in cases.values()), tuple(cases))


def _against_volume(source: Source, whole: Summary) -> list[Block]:
    measured = source.fingerprint.cases if source.fingerprint else {}
    keys = [key for key in whole.cases if key in measured]
    if not keys or not {"dice", "reference_voxels"} <= set(whole.overall):
        return []
    series = []
    labels, told = _drawn_labels(whole)
    for label in labels:
        rows = {key: whole.cases[key][label] for key in keys if whole.cases[key][label]["reference_voxels"]}
        volumes = tuple(
            number((row["reference_voxels"] or 0) * voxel_size(measured[key].spacing)) for key, row in rows.items()
        )
        series.append(Points(label, volumes, tuple(number(row["dice"]) for row in rows.values()), tuple(rows)))
    of = unit([measured[key] for key in keys])
    note = f"Small structures have lower Dice for the same errors at their border.{told}"
    x = f"size in the reference ({of})"
    return [Scatter("Dice against size", x, "Dice", tuple(series), high=1.0, note=note)]


def case_dice(whole: Summary) -> dict[str, float]:
    """Case to its mean Dice over labels, ascending; without cases that have none."""
    known = {
        key: [row["dice"] for row in case.values() if row.get("dice") is not None] for key, case in whole.cases.items()
    }
    means = {key: fmean(value for value in values if value is not None) for key, values in known.items() if values}
    return dict(sorted(means.items(), key=lambda item: (item[1], item[0])))


def telling(ranked: Sequence[str]) -> dict[str, str]:
    """Of cases from worst to best, those that are shown and why: the best, the median and the five worst."""
    if len(ranked) == 1:
        return {ranked[0]: "the only one"}
    chosen = {ranked[-1]: "best"} if ranked else {}
    if len(ranked) > 2:
        chosen.setdefault(ranked[len(ranked) // 2], "median")
    for place, key in enumerate(ranked[:WORST]):
        chosen.setdefault(key, "worst" if place == 0 else f"{ORDINALS[place]} worst")
    return chosen


def _pictures(source: Source, name: str, whole: Summary, fold_of: Mapping[str, str]) -> list[Block]:
    ranked, known = case_dice(whole), {case.key: case for case in source.dataset.cases}
    shown, gone = [], []
    for key, why in telling(list(ranked)).items():
        folder = source.run(name, fold_of[key]).validation
        if key not in known:
            gone.append(key)
            continue
        told = f"{why}: mean Dice {ranked[key]:.3f} ({_dice_told(whole.cases[key])}), fold {fold_of[key]}"
        files = files_in(folder, key, source.dataset.file_ending, source.dataset.labels)
        shown.append(Shown(known[key], told, files, why not in ("best", "median")))
    titles = {1: "The case that was scored", 2: "Best and worst case"}
    labelled, wrong = (
        ("Best and median show", "the worst cases") if len(ranked) > 2 else ("The best shows", "the worst")
    )
    note = (
        f"By mean Dice over labels. {labelled} the slices with the most labelled voxels, {wrong} those with the most "
        "wrong ones."
    )
    note = note if len(ranked) > 1 else "Slices with the most wrong voxels."
    notices = [Notice(f"Not among the dataset's cases any more: {', '.join(gone)}")] if gone else []
    return [*pictures(source, titles.get(len(ranked), "Best, median and worst cases"), shown, note), *notices]


def _dice_told(case: Mapping[str, Mapping[str, float | None]]) -> str:
    """Of every label or, of many, of those with the lowest."""
    known = {label: dice for label, row in case.items() if (dice := row["dice"]) is not None}
    told = sorted(known, key=lambda label: known[label])[:MOST_TOLD] if len(known) > MOST_TOLD else list(known)
    which = f"lowest of {len(known)}: " if len(told) < len(known) else ""
    return which + ", ".join(f"{label} {known[label]:.3f}" for label in told)


def _cases(whole: Summary, fold_of: Mapping[str, str]) -> Table:
    metrics = list(whole.overall)
    columns = [Column("case"), Column("fold", chosen=True), Column("label", chosen=True)]
    columns += [Column(called(metric), number=True, hint=HINTS.get(called(metric), "")) for metric in metrics]
    rows = [
        (key, fold_of[key], label, *(number(row[metric]) for metric in metrics))
        for key, case in whole.cases.items()
        for label, row in case.items()
    ]
    note = "The numbers of scores.csv of each fold; an empty cell has none. A column's name sorts by it."
    return Table("All cases", tuple(columns), tuple(rows), note)


SECTION = Part(10, "Cross-validation", blocks, made_of)
