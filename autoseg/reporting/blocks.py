"""What a section of a page is made of. The script of the page has one function for each kind that it draws.

Numbers are those of the tables that autoseg writes, with as many digits (``number``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Union

from ..evaluation.scores import NUMBER
from .packed import Volume
from .pairs import Matrix, Pairs

Cell = Union[str, float, None]


def number(value: float | None) -> float | None:
    """As CSV files hold it; None for what is no number."""
    return None if value is None or not math.isfinite(value) else float(NUMBER % value)


def numbers(values: Iterable[float | None]) -> tuple[float | None, ...]:
    return tuple(map(number, values))


@dataclass(frozen=True)
class Heading:
    """Begins a part of a section."""

    KIND: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    KIND: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Notice:
    """What is missing, damaged or left out, and what to do."""

    KIND: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True)
class Facts:
    """Names and what is true of them."""

    KIND: ClassVar[str] = "facts"
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    """Of a table."""

    name: str
    number: bool = False
    chosen: bool = False
    """Whether rows can be chosen by its value."""
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """Sorted by any column, filtered by words and by the columns that are ``chosen``."""

    KIND: ClassVar[str] = "table"
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    filtered: bool = True
    """Whether there is a field for words."""


@dataclass(frozen=True)
class Series:
    """One line; of points that have no y it has a gap."""

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]


@dataclass(frozen=True)
class Curves:
    """Lines in one plot."""

    name: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Lines:
    """One plot, or one that is chosen of several."""

    KIND: ClassVar[str] = "lines"
    title: str
    x: str
    y: str
    choices: tuple[Curves, ...]
    low: float | None = None
    high: float | None = None
    """Ends of the y axis; None: those of the values."""
    log: bool = False
    whole: bool = True
    """Whether x is counted in whole numbers."""
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Values of cases."""

    name: str
    values: tuple[float | None, ...]
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Groups:
    """Side by side in one plot."""

    name: str
    groups: tuple[Group, ...]
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Swarm:
    """A point per case, with a box from the first to the third quartile, the median and whiskers (Tukey 1977)."""

    KIND: ClassVar[str] = "swarm"
    title: str
    choices: tuple[Groups, ...]
    note: str = ""


@dataclass(frozen=True)
class Points:
    """Of one colour."""

    name: str
    x: tuple[float | None, ...]
    y: tuple[float | None, ...]
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Scatter:
    """x on a logarithmic axis."""

    KIND: ClassVar[str] = "scatter"
    title: str
    x: str
    y: str
    series: tuple[Points, ...]
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Spans:
    """For each case a low, a middle and a high value."""

    name: str
    cases: tuple[str, ...]
    low: tuple[float | None, ...]
    middle: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class Ranges:
    """A line per case from low to high with a point in between."""

    KIND: ClassVar[str] = "ranges"
    title: str
    y: str
    choices: tuple[Spans, ...]
    note: str = ""


@dataclass(frozen=True)
class Parts:
    """Amounts that add up, beside what they may be."""

    KIND: ClassVar[str] = "parts"
    title: str
    unit: str
    parts: tuple[tuple[str, float, str], ...]
    """What it is, how much, and the same in words."""
    limit: tuple[str, float, str] | None = None
    note: str = ""


@dataclass(frozen=True)
class Stage:
    """Of a U-Net: what it computes at one resolution."""

    size: str
    """Of its feature maps, in voxels."""
    features: int
    kernel: str
    down: str
    """What it does on the way down."""
    up: str
    """And on the way up; empty for the coarsest."""


@dataclass(frozen=True)
class UNet:
    """The finest stage first."""

    KIND: ClassVar[str] = "unet"
    title: str
    entrance: str
    exit: str
    stages: tuple[Stage, ...]
    note: str = ""


@dataclass(frozen=True)
class View:
    """One slice. Images are PNG files as data addresses, all of one size; lines run along the edges of voxels."""

    plane: str
    place: str
    """Which slice."""
    width: int
    height: int
    """Pixels."""
    aspect: float
    """Width over height in mm."""
    letters: tuple[str, str, str, str] | None
    """Where left, right, top and bottom of the picture point to in the patient; None: not known."""
    image: str
    reference: str
    outline: str
    """Of all labels of the reference, as the path of an SVG."""
    prediction: str | None = None
    errors: str | None = None


@dataclass(frozen=True)
class CasePicture:
    """One case in several planes."""

    case: str
    told: str
    views: tuple[View, ...]
    volume: Volume | None = None
    """All its slices, to be looked through."""


@dataclass(frozen=True)
class Pictures:
    """Cases one after the other."""

    KIND: ClassVar[str] = "pictures"
    title: str
    cases: tuple[CasePicture, ...]
    legend: tuple[tuple[str, str], ...]
    """Label to its colour."""
    errors: tuple[tuple[str, str], ...] = ()
    """Kind of error to its colour; empty where there is no prediction."""
    note: str = ""
    first: str = "reference"
    """What is seen in the first picture of a view."""
    last: str = "errors"
    """And in the last one, in the colours of ``errors``."""


Drawn = (Table, Lines, Swarm, Scatter, Ranges, Pairs, Matrix, Parts, UNet, Pictures)
"""What the script draws; the others are written into the page."""
Words = Union[Heading, Text, Notice, Facts]
Block = Union[Words, Table, Lines, Swarm, Scatter, Ranges, Pairs, Matrix, Parts, UNet, Pictures]


@dataclass(frozen=True)
class Section:
    """Of a page."""

    name: str
    title: str
    blocks: tuple[Block, ...]
