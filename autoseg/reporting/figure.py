"""Slices with labels as one PNG or SVG: letters, a scale bar, the names of the labels."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_file
from ..core.labels import Labels
from ..evaluation.picture import areas, contour, default_style, legend, outline, overlay
from .planes import Plane

KINDS = (".png", ".svg")
INCHES, SHEET_INCHES, NARROWEST = 3.6, 11.0, 1.5
DPI, MOST_DPI = 110.0, 400.0
BETWEEN = 1.2  # inches from row to row, for words and letters
BAR = 0.25  # of the width, at most
BELOW = -7 / 72  # inches from the picture's lower edge to the scale bar
REFERENCE = "reference"


@dataclass(frozen=True)
class Panel:
    """One picture: a slice, or many side by side."""

    title: str
    grey: np.ndarray
    """(rows, columns), or with a third axis red, green and blue, from 0 to 1."""
    label_map: np.ndarray | None
    reference: np.ndarray | None
    plane: Plane
    pixel: tuple[float, float]
    """mm from row to row and from column to column."""
    tile: int
    """Columns of one slice."""
    numbers: tuple[tuple[int, int, int], ...] = ()
    """Row and column where a slice begins, and which one it is, counted from 1."""

    @property
    def size(self) -> tuple[float, float]:
        """Height and width, mm."""
        return self.grey.shape[0] * self.pixel[0], self.grey.shape[1] * self.pixel[1]


@dataclass(frozen=True)
class Drawn:
    """How labels are drawn, and what there is besides them."""

    labels: Labels | None
    reference: Labels | None
    opacity: float
    contours: bool
    scaled: bool
    """Whether mm are known."""


def draw(path: Path, rows: Sequence[Sequence[Panel]], how: Drawn) -> None:
    """Writes the panels, a row each. The ending of ``path`` is one of ``KINDS``.

    In an SVG the slices are embedded PNG files, a pixel each voxel; outlines are vectors, and words are text.
    """
    from matplotlib import rc_context

    with default_style(), rc_context({"svg.fonttype": "none", "svg.hashsalt": "autoseg"}):
        figure, dpi = _figure(rows, how)
        kind = path.suffix.lower()[1:]
        metadata = {"Date": None, "Creator": "autoseg"} if kind == "svg" else {"Software": "autoseg"}
        with atomic_file(path) as temporary:
            figure.savefig(temporary, dpi=dpi, format=kind, metadata=metadata)


def _figure(rows: Sequence[Sequence[Panel]], how: Drawn) -> tuple[Any, float]:
    """It, and the dots per inch that show every voxel as one or more, where a screen can."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = [panel for row in rows for panel in row]
    inches = SHEET_INCHES if panels[0].numbers else INCHES
    scale = inches / max(length for panel in panels for length in panel.size)
    widths = [max(panel.size[1] * scale, NARROWEST) for panel in rows[0]]
    height = max(panel.size[0] for panel in panels) * scale
    names = _present(panels, how)
    columns = max(1, int(sum(widths) // 1.8))
    below = 0.25 * math.ceil((len(names) + 2) / columns)
    edges = sum(widths) + 0.7 * len(widths), (height + BETWEEN) * len(rows) + below
    figure = Figure(figsize=edges, layout=ConstrainedLayoutEngine(w_pad=0.12))
    axes = figure.subplots(len(rows), len(widths), squeeze=False, width_ratios=widths)
    for line, row in zip(axes, rows):
        for each, panel in zip(line, row):
            _draw(each, panel, how)
    named = how.reference if how.labels is None else how.labels
    if named is not None:
        legend(figure, named, names, None if how.reference is None else REFERENCE, columns)
    finest = max(pixels / (length * scale) for panel in panels for pixels, length in zip(panel.grey.shape, panel.size))
    return figure, min(max(DPI, finest), MOST_DPI)


def _present(panels: Sequence[Panel], how: Drawn) -> Collection[str]:
    """Names of the labels that are seen in any panel."""
    if how.labels is None:
        return ()
    there = {value for each in panels if each.label_map is not None for value in np.unique(each.label_map).tolist()}
    return [name for name, values in how.labels.foreground.items() if there & set(values)]


def _draw(axes: Any, panel: Panel, how: Drawn) -> None:
    shown = {"aspect": panel.pixel[0] / panel.pixel[1], "interpolation": "none"}
    axes.imshow(panel.grey, cmap="gray", vmin=0, vmax=1, **shown)
    axes.set(xticks=[], yticks=[])
    axes.autoscale(False)
    if how.labels is not None and panel.label_map is not None:
        if how.opacity > 0:
            axes.imshow(overlay(panel.label_map, how.labels, how.opacity), **shown)
        for mask, colour in areas(panel.label_map, how.labels) if how.contours else ():
            contour(axes, mask, colour, "solid", 0.7 if panel.numbers else 1.2)
    if how.reference is not None and panel.reference is not None:
        outline(axes, panel.reference, how.reference)
    for row, column, number in panel.numbers:
        axes.text(
            column,
            row,
            str(number),
            color="white",
            fontsize=6,
            va="top",
            bbox={"facecolor": "black", "pad": 0.8, "lw": 0},
        )
    _letters(axes, panel)
    if how.scaled:
        _scale_bar(axes, panel)


def _letters(axes: Any, panel: Panel) -> None:
    if panel.plane.letters is None:
        axes.set_title(panel.title, fontsize=9)
        return
    left, right, top, bottom = panel.plane.letters
    axes.set_title(f"{panel.title}\n{top}" if panel.title else top, fontsize=9)
    axes.set_xlabel(bottom, fontsize=9)
    axes.set_ylabel(left, fontsize=9, rotation=0, ha="right", va="center")
    axes.text(1.02, 0.5, right, transform=axes.transAxes, fontsize=9, va="center")


def _scale_bar(axes: Any, panel: Panel) -> None:
    from matplotlib.transforms import ScaledTranslation

    length = round_length(BAR * panel.tile * panel.pixel[1])
    below = axes.get_xaxis_transform() + ScaledTranslation(0, BELOW, axes.figure.dpi_scale_trans)
    ends = np.array([0, length / panel.pixel[1]]) - 0.5
    axes.plot(ends, [0, 0], transform=below, color="black", lw=2, clip_on=False, solid_capstyle="butt", gid="scale_bar")
    axes.text(ends[1], 0, f" {length:g} mm", transform=below, fontsize=8, va="center", clip_on=False)


def round_length(most: float) -> float:
    """The largest of 1, 2, 5, 10, 20, ... and their tenths, ... that is at most ``most``."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= most * (1 + 1e-9))
