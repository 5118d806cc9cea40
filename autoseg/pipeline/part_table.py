"""The list of parts, and what networks cost, as text for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ..core.amounts import bytes_text
from ..core.part_list import ListedPart

if TYPE_CHECKING:
    from .network_costs import NetworkCost

WIDEST = 100
GAP = 2


def part_table(parts: Sequence[ListedPart], width: int | None = None) -> str:
    """A paragraph for each family, a line or two for each part, in lines of at most ``width`` characters."""
    width = width or min(WIDEST, shutil.get_terminal_size().columns)
    lines: list[str] = []
    for family, group in groupby(parts, lambda part: part.family):
        members = list(group)
        column = max(len(part.name) for part in members) + GAP
        lines += ["", family] if lines else [family]
        for part in members:
            begin = f"  {part.name.ljust(column)}"
            lines += textwrap.wrap(_told(part), width, initial_indent=begin, subsequent_indent=" " * len(begin))
    return "\n".join(lines)


def _told(part: ListedPart) -> str:
    """One sentence, papers that it does not name itself, and what has to be installed."""
    told = part.what
    if more := [source for source in part.sources if source not in told]:
        told += f" [{'; '.join(more)}]"
    if part.extra is not None:
        told += f" (needs {part.install})" if part.install else f" (of the extra {part.extra}, which is installed)"
    return told


def cost_table(costs: Sequence[NetworkCost], width: int | None = None) -> str:
    """A row for each network; why there is none stands below it."""
    width = width or min(WIDEST, shutil.get_terminal_size().columns)
    rows = [["network", "size", "patch", "parameters", "memory", "s/step"]]
    for cost in costs:
        rows.append(
            [
                cost.name,
                cost.size or ("-" if cost.parameters is None else "as planned"),
                " x ".join(map(str, cost.patch_size)),
                "-" if cost.parameters is None else _millions(cost.parameters),
                "-" if cost.bytes is None else bytes_text(cost.bytes),
                "-" if cost.seconds is None else f"{cost.seconds:.2g}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row, problem in zip(rows, [None, *(cost.problem for cost in costs)]):
        texts, numbers = zip(row[:3], widths[:3]), zip(row[3:], widths[3:])
        cells = [*(cell.ljust(size) for cell, size in texts), *(cell.rjust(size) for cell, size in numbers)]
        lines.append("  ".join(cells).rstrip())
        if problem is not None:
            lines += textwrap.wrap(problem, width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} M"
