"""Which configuration is better, on the cases that all of them have validated: differences, their intervals, a test.

Once `select` has run, what it has compared: configurations and ensembles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core.names import counted
from ...evaluation.counts import overall, per_case
from ...evaluation.paired import SURE, Paired, paired
from ...evaluation.resampling import patient_numbers
from ...evaluation.scores import Summary
from ...evaluation.selection import RECORD, Selection
from ..blocks import Block, Cell, Column, Notice, Table, Text, number
from ..pairs import Pairing, Pairs
from ..source import Source
from . import Part
from .cross_validation import INTERVAL, pooled
from .cross_validation import made_of as made_of_validation

OVERALL = "mean over labels"
MOST_LABELS = 40  # in one plot
MOST_COLUMNS = 12  # of labels
MOST_UNFILTERED = 2  # rows
OF_DIFFERENCES = (
    *(Column(name, number=True) for name in INTERVAL),
    Column("better", number=True, hint="patients, or cases where no patients are named"),
    Column("worse", number=True, hint="patients, or cases where no patients are named"),
    Column("p", number=True, hint="Wilcoxon's signed-rank test, two-sided"),
    Column("verdict"),
)
CHOSEN: tuple[Cell, ...] = (*[None] * 6, "chosen")
"""In the place of its differences."""
TESTED = (
    "p is not corrected for the number of comparisons, and the best was chosen on these same cases, which favours it."
)
Scores = Mapping[str, np.ndarray]
"""Configuration to Dice (cases, labels), NaN where there is none."""


def blocks(source: Source) -> list[Block]:
    """Every configuration against the best one or, where `select` has compared them, all models against the chosen one;
    nothing where there are not two."""
    wholes = _validated(source)
    selected = source.selection if source.configuration is None else None
    if selected is None or len(selected.compared) < 2:
        return _compared(wholes)
    singles = {name for model in selected.compared for name in model.members}
    if later := [name for name in source.runs() if name in wholes and name not in singles | set(selected.missing)]:
        told = f"`autoseg select` has not compared {', '.join(later)}; run it again to compare ensembles, too."
        return [*_compared(wholes), Notice(told)]
    beside = _compared(wholes)
    if wholes.keys() <= source.runs().keys():  # select says all but the plots; it does not know classical methods
        beside = [block for block in beside if isinstance(block, Pairs)]
    return [*_selected(source, selected), *beside]


def _compared(wholes: Mapping[str, Summary]) -> list[Block]:
    """What their validation says."""
    if len(wholes) < 2:
        return []
    keys = sorted(set.intersection(*(set(whole.cases) for whole in wholes.values())))
    first, *others = wholes.values()
    labels = [label for label in first.labels if all(label in each.labels for each in others)]
    if not keys or not labels:
        return [Notice(f"{', '.join(wholes)} have validated no case and label in common; they are not compared.")]
    scores = {name: _dice(whole, keys, labels) for name, whole in wholes.items()}
    ranked = sorted(scores, key=lambda name: -np.nan_to_num(overall(scores[name]), nan=-1.0))
    patients = {key: patient for whole in wholes.values() for key, patient in whole.patients.items()}
    numbers = patient_numbers(keys, patients)
    found: list[Block] = [Text(_told(ranked, len(keys), len(set(numbers.tolist())) if patients else 0))]
    found.append(_table(scores, ranked, labels, numbers))
    return found + [_pairs(scores, name, ranked[0], keys, labels) for name in ranked[1:]]


def _selected(source: Source, selected: Selection) -> list[Block]:
    """What `select` found."""
    chosen, grouped = selected.chosen, selected.patients < selected.cases
    whose = f" of {selected.patients} patients" if grouped else ""
    told = (
        f"`autoseg select` compared {len(selected.compared)} models, configurations and their ensembles, on the "
        f"{counted(selected.cases, 'case')}{whose} of fold {', '.join(selected.folds)}, each by networks that had not "
        f"seen it, and chose {chosen.name}. Intervals and tests go by {'patient' if grouped else 'case'}."
    )
    labels = list(chosen.labels)[:MOST_COLUMNS]
    columns = (
        Column("model"),
        Column("Dice", number=True, hint="mean over labels, before postprocessing"),
        *(Column(name, number=True) for name in INTERVAL),
        Column("difference", number=True, hint=f"Dice minus that of {chosen.name}"),
        *OF_DIFFERENCES,
        *(Column(f"Dice of {label}", number=True) for label in labels),
    )
    rows: list[tuple[Cell, ...]] = []
    for model in selected.compared:
        dice, against = model.dice, model.to_chosen
        cells = CHOSEN if against is None else _difference(against)
        means = (number(model.labels[label].mean) for label in labels)
        rows.append((model.name, number(dice.mean), number(dice.low), number(dice.high), *cells, *means))
    more = f" The first {MOST_COLUMNS} of {len(chosen.labels)} labels." if len(chosen.labels) > MOST_COLUMNS else ""
    note = (
        "The numbers of selection.csv: means over cases and differences to the chosen model, with their 95 % interval. "
        f"{TESTED} Models are combined by the mean of their probabilities unless their name says otherwise.{more}"
    )
    table = Table("Models that were compared", columns, tuple(rows), note, filtered=len(rows) > MOST_UNFILTERED)
    missing = [f"{name}: {source.without_folders(why)}" for name, why in selected.missing.items()]
    return [Text(told), table, *([Notice(f"Not compared by select: {'; '.join(missing)}")] if missing else [])]


def _validated(source: Source) -> dict[str, Summary]:
    found = {}
    for name in source.scored():
        whole = pooled(source.summaries(name)[0], source.folds.patients if source.folds else {})
        if whole is not None and "dice" in whole.overall:
            found[name] = whole
    return found


def _dice(whole: Summary, keys: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    cells = [[whole.cases[key][label]["dice"] for label in labels] for key in keys]
    return np.array([[math.nan if cell is None else cell for cell in row] for row in cells])


def _told(ranked: Sequence[str], cases: int, patients: int) -> str:
    whose = f" of {patients} patients" if patients else ""
    by = "by patient" if patients else "by case, each taken for a patient"
    return (
        f"{len(ranked)} configurations on the {cases} cases{whose} that all have validated, each against {ranked[0]}, "
        f"which has the highest mean Dice. Intervals and tests go {by}."
    )


def _table(scores: Scores, ranked: Sequence[str], labels: Sequence[str], patients: np.ndarray) -> Table:
    best = ranked[0]
    columns = (
        Column("configuration", chosen=True),
        Column("label", chosen=True),
        Column("cases", number=True),
        Column("Dice", number=True),
        Column(f"Dice of {best}", number=True),
        Column("difference", number=True, hint=f"Dice minus that of {best}"),
        *OF_DIFFERENCES,
    )
    rows = []
    for name in ranked[1:]:
        for label, one, other in _by_label(scores[name], scores[best], labels):
            rows.append((name, label, *_row(one, other, patients)))
    note = (
        f"Differences of means over cases, with their 95 % interval. {TESTED} Worse or better: the interval leaves out "
        f"0, and p < {SURE}."
    )
    return Table("Differences of Dice", columns, tuple(rows), note, filtered=len(rows) > MOST_UNFILTERED)


def _by_label(one: np.ndarray, other: np.ndarray, labels: Sequence[str]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """All labels together, where there are several, and each by itself."""
    found = [(label, one[:, [n]], other[:, [n]]) for n, label in enumerate(labels)]
    return [(OVERALL, one, other), *found] if len(labels) > 1 else found


def _row(one: np.ndarray, other: np.ndarray, patients: np.ndarray) -> tuple[Cell, ...]:
    found = paired(one, other, patients)
    cases = float(found.difference.cases)
    return cases, number(float(overall(one))), number(float(overall(other))), *_difference(found)


def _difference(found: Paired) -> tuple[Cell, ...]:
    """The cells of the difference and of ``OF_DIFFERENCES``."""
    difference = found.difference
    return (
        number(difference.mean),
        number(difference.low),
        number(difference.high),
        float(found.better),
        float(found.worse),
        number(found.p),
        _verdict(found),
    )


def _verdict(found: Paired) -> str:
    if found.surely_better():
        return "better"
    high = found.difference.high
    worse = high is not None and high < 0 and found.p is not None and found.p < SURE
    return "worse" if worse else "no clear difference"


def _pairs(scores: Scores, name: str, best: str, keys: Sequence[str], labels: Sequence[str]) -> Pairs:
    choices = []
    for label, one, other in _by_label(scores[name], scores[best], labels)[: MOST_LABELS + 1]:
        values = zip(per_case(one), per_case(other))
        both = tuple((number(float(left)), number(float(right))) for left, right in values)
        choices.append(Pairing(label, name, best, tuple(keys), both))
    note = f"A line is a case, from its Dice by {name} to that by {best}: where it falls, {name} is better."
    return Pairs(f"{name} and {best}", "Dice", tuple(choices), 0.0, 1.0, note)


def made_of(source: Source) -> list[Path]:
    """What validation and `select` have left."""
    return [*made_of_validation(source), source.files.selection / RECORD]


SECTION = Part(15, "Comparison", blocks, made_of)
