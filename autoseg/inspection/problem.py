"""One thing that is wrong with a dataset, and the table of all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.names import short

TABLE_WIDTH = 100
LONGEST = 400  # characters of what is wrong: messages of libraries have no end


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one case."""

    case: str
    file: str
    """File name; empty when it concerns the whole case."""
    what: str
    cure: str
    severity: str = "error"
    """``error``: must be cured before planning. ``note``: worth knowing, nothing stops."""
    fixable: bool = False
    """Whether ``fix`` repairs it."""


def problem_table(problems: Sequence[Problem], most: int | None = None) -> str:
    """The problems as aligned text, at most 100 columns wide where names allow it, then what to do.

    Errors come first; of more than ``most`` problems the others are only counted.
    """
    if not problems:
        return "no problems"
    ordered = sorted(problems, key=lambda problem: (problem.severity, problem.case))
    shown = ordered[:most]
    width = min(max(len(problem.case) for problem in shown), 40)
    indent = " " * (len("error") + 2 + width + 2)
    lines = []
    for problem in shown:
        text = short(f"{problem.file}: {problem.what}" if problem.file else problem.what, LONGEST)
        start = f"{problem.severity:<5}  {problem.case:<{width}}  "
        lines += textwrap.wrap(
            _printable(text),
            TABLE_WIDTH,
            initial_indent=start,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    if len(ordered) > len(shown):
        lines.append(f"... and {len(ordered) - len(shown)} more: `autoseg check DATASET` lists all")
    for cure in dict.fromkeys(problem.cure for problem in shown):
        lines += textwrap.wrap(cure, TABLE_WIDTH, initial_indent="-> ", subsequent_indent="   ")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """File names may hold what moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
