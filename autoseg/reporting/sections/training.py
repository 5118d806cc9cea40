"""How the trainings of a dataset went: their epochs, all folds in one plot."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from ...core.amounts import bytes_text
from ...core.progress import duration
from ...run_folder import RunFolder
from ...training.log import MetricsTable
from ..blocks import Block, Column, Curves, Heading, Lines, Notice, Series, Table, number, numbers
from ..source import Source
from . import Part

DICE = "dice_"
WHOLE_CASES = "dice_volumes"
MOST_POINTS = 1500  # of a line; of more epochs every second, third, ... is drawn
Rows = Sequence[dict[str, float]]


def blocks(source: Source) -> list[Block]:
    """Of every configuration: where each fold is, and what its epochs measured."""
    runs = source.runs()
    if not runs:
        return []
    found: list[Block] = [_table(source)]
    for name, folds in runs.items():
        measured = {fold.fold: _epochs(fold) for fold in folds}
        without = [fold for fold, rows in measured.items() if not rows]
        found.append(Heading(name))
        if without:
            found.append(Notice(f"No epoch of fold {', '.join(without)} has ended, or metrics.csv cannot be read."))
        found += _plots({fold: rows for fold, rows in measured.items() if rows}, list(source.dataset.labels.foreground))
    return found


def _table(source: Source) -> Table:
    rows = []
    for line in source.lines:
        trained = None if line.progress is None else number(100 * line.progress)
        left = duration(line.seconds_left) if line.seconds_left else ""
        error = source.without_folders(line.error) if line.error else ""
        dice = number(line.dice)
        how = "" if dice is None else "validation cases" if line.validated else "patches, so far"
        rows.append((line.configuration, line.fold, line.state, trained, left, dice, how, error))
    columns = (
        Column("configuration"),
        Column("fold"),
        Column("state"),
        Column("trained (%)", number=True),
        Column("time left"),
        Column("Dice", number=True, hint="mean over labels"),
        Column("measured on"),
        Column("last error"),
    )
    used = [place for place, column in enumerate(columns) if column.name not in _unused(rows)]
    return Table(
        "Trainings",
        tuple(columns[place] for place in used),
        tuple(tuple(row[place] for place in used) for row in rows),
        filtered=False,
    )


def _unused(rows: Sequence[Sequence[object]]) -> set[str]:
    """Columns without a word in them."""
    left, error = (all(not row[place] for row in rows) for place in (4, 7))
    return {name for name, empty in (("time left", left), ("last error", error)) if empty}


def _epochs(run: RunFolder) -> Rows:
    return MetricsTable.open(run.metrics, sys.maxsize).rows if run.metrics.is_file() else []


def _plots(measured: dict[str, Rows], labels: Sequence[str]) -> list[Block]:
    if not measured:
        return []
    named = [("mean over labels", "dice"), *((name, DICE + name) for name in labels)]
    named += [("whole validation cases", WHOLE_CASES)] if _has(measured, WHOLE_CASES) else []
    dice = [_curves(measured, column, name) for name, column in named if _has(measured, column)]
    note = "Mean over the epoch's training batches."
    found: list[Block] = [Lines("Loss", "epoch", "loss", (_curves(measured, "loss"),), note=note)]
    if dice:
        note = "On patches of the validation cases, pooled over the epoch's look. Whole cases are scored at the end."
        found.append(Lines("Dice during training", "epoch", "Dice", tuple(dice), 0.0, 1.0, note=note))
    found.append(Lines("Learning rate", "epoch", "learning rate", (_curves(measured, "learning_rate"),), low=0.0))
    found.append(Lines("Time per iteration", "epoch", "s", (_curves(measured, "seconds_per_iteration"),), low=0.0))
    note = "Share of the time in which the network waited for patches: high where reading is the bottleneck."
    found.append(
        Lines(
            "Waiting for data",
            "epoch",
            "%",
            (_curves(measured, "share_waiting_for_data", by=100),),
            0.0,
            100.0,
            note=note,
        )
    )
    if _has(measured, "memory"):
        peaks = {fold: max(row.get("memory", 0.0) for row in rows) for fold, rows in measured.items()}
        told = ", ".join(f"fold {fold} {bytes_text(peak)}" for fold, peak in peaks.items())
        note = f"The most that was held so far, on a GPU of its memory, else of main memory: {told}."
        found.append(Lines("Memory", "epoch", "GB", (_curves(measured, "memory", by=1e-9),), low=0.0, note=note))
    return found


def _has(measured: dict[str, Rows], column: str) -> bool:
    return any(not math.isnan(row.get(column, math.nan)) for rows in measured.values() for row in rows)


def _curves(measured: dict[str, Rows], column: str, name: str = "", by: float = 1.0) -> Curves:
    series = []
    for fold, rows in measured.items():
        step = -(-len(rows) // MOST_POINTS)
        taken = [*rows[:-1:step], rows[-1]]
        y = numbers(by * row.get(column, math.nan) for row in taken)
        series.append(Series(f"fold {fold}", tuple(row["epoch"] for row in taken), y))
    return Curves(name, tuple(series))


SECTION = Part(20, "Training", blocks)
