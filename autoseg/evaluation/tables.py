"""Scores as text for a terminal."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping, Sequence

from ..core.estimate import Estimate
from ..core.names import short
from .resampling import patient_numbers
from .scores import Summary

INTERVAL = "(95 % interval)"
SHOWN = {"hd95_mm": "hd95_mm", "prediction_ml": "volume_ml", "reference_ml": "reference"}
"""Metrics beside Dice that the table shows where it has room, and what their columns are called."""
USUAL = re.compile(r"dice|iou|precision|recall|volume_error(_percent)?|(hd95|assd|nsd)_[^_]*mm|.*_(voxels|ml)|.*_at_.*")
"""Metrics of every evaluation, and the many points of a curve. Others were asked for and have a table of their own."""
NARROWEST = 12  # characters of a label's name


def score_table(summary: Summary, width: int | None = None) -> str:
    """Dice, HD95 and volumes, and what was asked for beside them, in lines of ``width`` characters (None: those of the
    terminal); all other metrics are in the files only."""
    width = width or shutil.get_terminal_size().columns
    names, rows = [*summary.labels, "mean over labels"], [*summary.labels.values(), summary.overall]
    lines = [_main(names, rows, width)]
    further = [name for name in summary.overall if not USUAL.fullmatch(name)]
    if further:
        cells = [[row[name].mean for name in further] for row in rows]
        lines += [
            "",
            aligned([short(name, max(NARROWEST, width // 4)) for name in names], cells, ["label", *further], width),
        ]
    if summary.patients:
        patients = patient_numbers(list(summary.cases), summary.patients).max() + 1
        lines.append(f"{len(summary.cases)} cases of {patients} patients; intervals resample patients")
    if summary.missing:
        total = len(summary.cases) + len(summary.missing)
        some = ", ".join(summary.missing[:10]) + (", ..." if len(summary.missing) > 10 else "")
        lines.append(f"{len(summary.missing)} of {total} cases have no prediction and are in none of the means: {some}")
    return "\n".join(lines)


def _main(names: Sequence[str], rows: Sequence[Mapping[str, Estimate]], width: int) -> str:
    """Columns without a number are left out, and the last ones where they do not fit."""
    dice = [row["dice"] for row in rows]
    columns: dict[str, list[object]] = {"cases": [each.cases for each in dice], "dice": [each.mean for each in dice]}
    if any(each.low is not None for each in dice):
        columns[INTERVAL] = [_interval(each) for each in dice]
    for metric, title in SHOWN.items():
        if any(metric in row and row[metric].mean is not None for row in rows):
            columns[title] = [row[metric].mean for row in rows]
    longest = max(map(len, names))
    while True:
        cells = list(zip(*columns.values()))
        room = longest + width - len(aligned(names, cells, ["label", *columns]).splitlines()[0])
        if room >= min(NARROWEST, longest) or len(columns) <= 2:
            return aligned([short(name, max(NARROWEST, room)) for name in names], cells, ["label", *columns])
        columns.popitem()


def _interval(dice: Estimate) -> str:
    return "" if dice.low is None else f"({dice.low:.3f}-{dice.high:.3f})"


def aligned(
    names: Sequence[str], rows: Sequence[Sequence[object]], columns: Sequence[str], width: int | None = None
) -> str:
    """A table as text: the first of ``columns`` is that of the ``names`` of the rows; no number is a dash.

    What is wider than ``width`` goes on below.
    """
    from pandas import DataFrame

    cells = [[math.nan if cell is None else cell for cell in row] for row in rows]
    table = DataFrame(cells, names, columns[1:]).rename_axis(columns=columns[0])
    text = table.to_string(float_format="{:.3f}".format, na_rep="-", line_width=width)
    return "\n".join(line.rstrip(" \\") for line in text.splitlines())  # pandas ends what goes on with a backslash
