"""Of the cross-validation: whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...core.names import counted
from ...core.records import read_json
from ...errors import RecordError
from ...evaluation.calibration import BINS, Bins, Calibration, error_interval, expected_error, overconfidence, pooled
from ...evaluation.resampling import patient_numbers
from ...evaluation.scores import Summary
from ..blocks import Block, Cell, Column, Curves, Lines, Notice, Series, Table, number
from ..source import Source, of_folds

MOST_LABELS = 7  # in one plot, beside the diagonal
CURE = "run `autoseg train` for it again, which counts what is kept"
FOUND = f"outside of the lowest bin: where the label has more than 1/{BINS}"


def calibrated(source: Source, name: str, summaries: Mapping[str, Summary]) -> list[Block]:
    """Of one configuration; ``summaries`` are the scores of its folds."""
    read, without = _read(source, name, summaries)
    cases, patients = [*read.values()], {key: who for each in summaries.values() for key, who in each.patients.items()}
    found: list[Block] = []
    if without:
        found.append(Notice(f"Calibration is not known of {of_folds(without)}: {CURE}."))
    labels = {label: pooled(case[label] for case in cases if label in case) for label in _names(cases)}
    known = {label: bins for label, bins in labels.items() if sum(bins.voxels)}
    if not known:
        return found
    ends = {label: _ends([key for key in read if label in read[key]], label, read, patients) for label in known}
    return [_errors(known, ends, len(cases)), _bins(known), _diagram(known), *found]


Ends = tuple[float | None, float | None]


def _ends(keys: list[str], label: str, cases: Mapping[str, Mapping[str, Bins]], patients: Mapping[str, str]) -> Ends:
    """Of the 95 % interval of the error outside of the lowest bin."""
    return error_interval([cases[key][label] for key in keys], patient_numbers(keys, patients), 1) or (None, None)


def _read(
    source: Source, name: str, summaries: Mapping[str, Summary]
) -> tuple[dict[str, dict[str, Bins]], dict[str, str]]:
    """What validation counted in each case, and of which folds it is missing."""
    cases: dict[str, dict[str, Bins]] = {}
    without: dict[str, str] = {}
    for fold, summary in summaries.items():
        path = source.run(name, fold).calibration
        if not path.exists():
            without[fold] = "validated by an earlier version"
            continue
        try:
            binned = read_json(path, Calibration).cases
        except RecordError as error:
            without[fold] = f"{source.told(error)}; remove that file"
            continue
        if binned.keys() != summary.cases.keys():
            without[fold] = "calibration.json is of other cases than scores.json; remove that file"
            continue
        cases |= binned
    return cases, without


def _names(cases: Collection[Mapping[str, Bins]]) -> list[str]:
    return list(dict.fromkeys(label for case in cases for label in case))


def _errors(labels: Mapping[str, Bins], ends: Mapping[str, Ends], cases: int) -> Table:
    columns = (
        Column("label"),
        Column("voxels", number=True),
        Column("ECE", number=True, hint="expected calibration error: 0 is perfect"),
        Column(f"voxels above 1/{BINS}", number=True, hint=f"voxels {FOUND}"),
        Column(f"ECE above 1/{BINS}", number=True, hint=f"expected calibration error {FOUND}"),
        Column("95 % from", number=True, hint="of that error; patients are drawn with replacement"),
        Column("95 % to", number=True),
        Column(
            f"overconfidence above 1/{BINS}", number=True, hint=f"mean probability minus share that is right {FOUND}"
        ),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            label,
            float(sum(bins.voxels)),
            number(expected_error(bins)),
            float(sum(bins.voxels[1:])),
            number(expected_error(bins, 1)),
            *map(number, ends[label]),
            number(overconfidence(bins, 1)),
        )
        for label, bins in labels.items()
    ]
    note = (
        "How far probabilities lie from how often they are right, over all voxels of "
        f"{counted(cases, 'validation case')} in {BINS} bins. Most voxels are surely background and hide "
        f"what happens at borders; so the error is also given {FOUND}. "
        "Overconfidence above 0: the network promises more than it keeps."
    )
    return Table("Calibration: expected calibration error", columns, tuple(rows), note, filtered=False)


def _diagram(labels: Mapping[str, Bins]) -> Lines:
    ranked = sorted(labels, key=lambda label: -(expected_error(labels[label], 1) or 0.0))[:MOST_LABELS]
    told = f" The {MOST_LABELS} worst of {len(labels)} labels." if len(labels) > MOST_LABELS else ""
    series = [_series(label, bins) for label, bins in labels.items() if label in ranked]
    note = f"Below the diagonal the network is too sure of a label, above it not sure enough.{told}"
    perfect = Series("perfectly calibrated", (0.0, 1.0), (0.0, 1.0))
    return Lines(
        "Reliability diagram",
        "mean probability of a label",
        "share of voxels that have it",
        (Curves("", (*series, perfect)),),
        0.0,
        1.0,
        whole=False,
        note=note,
    )


def _series(label: str, bins: Bins) -> Series:
    points = [(sums / voxels, hits / voxels) for voxels, sums, hits in bins.rows() if voxels]
    return Series(label, tuple(number(x) or 0.0 for x, _ in points), tuple(number(y) for _, y in points))


def _bins(labels: Mapping[str, Bins]) -> Table:
    columns = (
        Column("label", chosen=True),
        Column("probability above", number=True),
        Column("up to", number=True),
        Column("voxels", number=True),
        Column("mean probability", number=True),
        Column("share that has the label", number=True),
    )
    rows: list[tuple[Cell, ...]] = [
        (label, number(place / BINS), number((place + 1) / BINS), float(voxels), *_means(voxels, sums, hits))
        for label, bins in labels.items()
        for place, (voxels, sums, hits) in enumerate(bins.rows())
    ]
    note = "What the reliability diagram shows. The lowest bin holds probability 0, too."
    return Table("Bins of the calibration", columns, tuple(rows), note)


def _means(voxels: int, sums: float, hits: int) -> tuple[float | None, float | None]:
    return (number(sums / voxels), number(hits / voxels)) if voxels else (None, None)
