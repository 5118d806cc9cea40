"""Of the cross-validation: how much worse results become when more of them are accepted, by their predicted quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import RecordError
from ...evaluation.predicted_dice import Seen, learn, risk_coverage
from ...evaluation.quality_table import QUALITY, QualityTable, read_quality
from ...evaluation.scores import Summary
from ..blocks import Block, Cell, Column, Curves, Lines, Notice, Series, Table, number, numbers
from ..source import Source, of_folds

MOST_POINTS = 300  # of a line
FEWEST = 3  # cases of a label
TITLE = "Risk against coverage"


def accepted(source: Source, name: str, whole: Summary, summaries: Mapping[str, Summary]) -> list[Block]:
    """Of one configuration; ``whole`` are all cases of its folds, whose scores are ``summaries``."""
    quality, without = _read(source, name, summaries)
    found: list[Block] = [Notice(f"{TITLE} leaves out {of_folds(without)}.")] if without else []
    seen = {label: _seen(label, quality, whole) for label in whole.labels}
    shown = {label: cases for label, cases in seen.items() if len(cases) >= FEWEST}
    if not shown:
        return found
    unpredicted = {
        label: sum(row[label].agreement is None for row in quality.values() if label in row) for label in shown
    }
    return [_curves(shown), _table(shown, unpredicted), *found]


def _read(source: Source, name: str, summaries: Mapping[str, Summary]) -> tuple[QualityTable, dict[str, str]]:
    """Of all folds, and of which there is none, with the reason."""
    found: QualityTable = {}
    without: dict[str, str] = {}
    for fold, summary in summaries.items():
        path = source.run(name, fold).validation / QUALITY
        if not path.exists():
            without[fold] = "predictions were not measured"
            continue
        try:
            found |= {key: rows for key, rows in read_quality(path).items() if key in summary.cases}
        except RecordError as error:
            without[fold] = source.told(error)
    return found, without


def _seen(label: str, quality: QualityTable, whole: Summary) -> list[Seen]:
    """Cases of which both numbers are known."""
    found = []
    for key, rows in quality.items():
        dice = whole.cases[key][label]["dice"]
        agreement = rows[label].agreement if label in rows else None
        if agreement is not None and dice is not None:
            found.append(Seen(key, whole.patients.get(key, key), label, agreement, dice))
    return found


def _curves(shown: Mapping[str, Sequence[Seen]]) -> Lines:
    choices = []
    for label, cases in shown.items():
        dice = [each.dice for each in cases]
        orders = {
            "the surest first": [each.agreement for each in cases],
            "the best first (not known in practice)": dice,
            "in any order": [0.0] * len(cases),
        }
        choices.append(Curves(label, tuple(_series(order, sure, dice) for order, sure in orders.items())))
    note = (
        "How large the mean error is where only the surest share of the cases is accepted and the others are looked at "
        "by a person. How sure a case is, its predicted quality says, which needs no reference. The lower, the better."
    )
    return Lines(TITLE, "coverage (% of cases)", "risk (mean of 1 - Dice)", tuple(choices), 0.0, whole=False, note=note)


def _series(name: str, sure: Sequence[float], dice: Sequence[float]) -> Series:
    found = risk_coverage(sure, dice)
    last = len(dice) - 1
    places = np.unique(np.linspace(0, last, min(MOST_POINTS, last + 1)).round().astype(int))
    x = tuple(number(float(value)) or 0.0 for value in 100 * found.coverage[places])
    return Series(name, x, numbers(float(value) for value in found.risk[places]))


def _table(shown: Mapping[str, Sequence[Seen]], unpredicted: Mapping[str, int]) -> Table:
    lines = learn([each for cases in shown.values() for each in cases])
    columns = (
        Column("label"),
        Column("cases", number=True),
        Column("not predicted", number=True, hint="cases without a voxel of the label: there is nothing to rank"),
        Column("mean risk", number=True, hint="area under the line in any order: the mean of 1 - Dice"),
        Column("area, surest first", number=True, hint="area under risk against coverage (AURC)"),
        Column("area, best first", number=True, hint="of the order that only the reference knows"),
        Column("error of the predicted Dice", number=True, hint="mean absolute error; patients were left out in turn"),
        Column("r", number=True, hint="correlation of predicted and measured Dice"),
    )
    rows: list[tuple[Cell, ...]] = []
    for label, cases in shown.items():
        dice, line = [each.dice for each in cases], lines.get(label)
        areas = (
            risk_coverage(sure, dice).area for sure in ([0.0] * len(dice), [each.agreement for each in cases], dice)
        )
        rows.append(
            (
                label,
                float(len(cases)),
                float(unpredicted[label]),
                *numbers(areas),
                number(line.error) if line else None,
                number(line.r) if line else None,
            )
        )
    note = "Area under risk against coverage: near that of the best order where the predicted quality ranks cases well."
    return Table("Predicted quality", columns, tuple(rows), note, filtered=False)
