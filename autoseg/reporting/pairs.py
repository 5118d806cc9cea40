"""Blocks that set one against another: the same cases twice, and labels that were taken for labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Pairing:
    """What two say of the same cases."""

    name: str
    left: str
    right: str
    """What they are called."""
    cases: tuple[str, ...]
    values: tuple[tuple[float | None, float | None], ...]
    """Of each case left and right."""


@dataclass(frozen=True)
class Pairs:
    """A line per case from its left to its right value."""

    KIND: ClassVar[str] = "pairs"
    title: str
    y: str
    choices: tuple[Pairing, ...]
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Matrix:
    """Which of some classes was taken for which, shaded by the share of the row."""

    KIND: ClassVar[str] = "matrix"
    title: str
    names: tuple[str, ...]
    """Of rows and columns."""
    row: str
    column: str
    """What they are of."""
    amounts: tuple[tuple[float, ...], ...]
    unit: str
    shares: tuple[tuple[float | None, ...], ...]
    """Of the row's whole, in %; None where that is nothing."""
    note: str = ""
