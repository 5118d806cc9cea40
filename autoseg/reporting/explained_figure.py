"""Maps of one label as one picture: a row for each way to explain it, planes through the largest value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_file
from ..evaluation.picture import default_style, shades, window
from ..pipeline.explain import ExplainedMap, Seen
from .pictures import shown_channel
from .planes import Plane, planes, turned, turned_spacing

INCHES = 2.8
COLOURS, SIGNED = "inferno", "RdBu_r"
FAINT = 0.15  # of the largest value: below, the image shows through


@dataclass(frozen=True)
class Cut:
    """One slice."""

    title: str
    letters: tuple[str, ...]
    grey: np.ndarray
    """0 to 1."""
    heat: np.ndarray
    aspect: float


@dataclass(frozen=True)
class Row:
    """One map: what is drawn of it, not all its voxels."""

    told: ExplainedMap
    cuts: tuple[Cut, ...]
    most: float
    """The largest absolute value."""
    signed: bool

    @classmethod
    def of(cls, seen: Seen) -> Row:
        """Through the largest value."""
        image, geometry = seen.image.array[shown_channel(seen.image)], seen.image.geometry
        heat, grey, between = turned(seen.array, geometry), turned(image, geometry), window(image)
        peak, spacing = np.unravel_index(int(heat.argmax()), heat.shape), turned_spacing(geometry)

        def cut(plane: Plane) -> Cut:
            index = int(peak[plane.axis])
            rows, columns = (spacing[axis] for axis in range(3) if axis != plane.axis)
            title = f"{plane.name} {plane.told(index, heat.shape[plane.axis])}"
            shown, values = shades(plane.cut(grey, index), between), plane.cut(heat, index).copy()
            return Cut(title, tuple(plane.letters or ()), shown, values, rows / columns)

        most = max(float(np.abs(heat).max()), 1e-12)
        return cls(seen.told, tuple(cut(plane) for plane in planes(geometry)), most, bool(heat.min() < 0))


def draw_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes a PNG. Positive values are opaque where they are large; negative ones, if there are any, are blue."""
    with default_style():
        figure = _figure(rows)
        with atomic_file(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png", metadata={"Software": "autoseg"})


def _figure(rows: Sequence[Row]) -> Any:
    from matplotlib.figure import Figure

    columns = len(rows[0].cuts)
    figure = Figure(figsize=(INCHES * columns + 1.6, (INCHES + 0.3) * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows):
        images = [_panel(each, cut, row) for each, cut in zip(line, row.cuts)]
        line[0].set_ylabel(row.told.method, fontsize=9)
        figure.colorbar(images[0], ax=line.tolist(), shrink=0.8).set_label(row.told.unit, fontsize=7)
    figure.suptitle(f"{rows[0].told.case}, {rows[0].told.label}: where the evidence lies", fontsize=11)
    return figure


def _panel(axes: Any, cut: Cut, row: Row) -> Any:
    shown = {"aspect": cut.aspect, "interpolation": "nearest"}
    axes.imshow(cut.grey, cmap="gray", vmin=0, vmax=1, **shown)
    opacity = np.clip(np.abs(cut.heat) / row.most, 0, 1)
    opacity = np.where(opacity < FAINT, 0, 0.25 + 0.6 * opacity)
    colours, low = (SIGNED, -row.most) if row.signed else (COLOURS, 0.0)
    image = axes.imshow(cut.heat, cmap=colours, vmin=low, vmax=row.most, alpha=opacity, **shown)
    axes.set(xticks=[], yticks=[])
    axes.set_title(cut.title, fontsize=7)
    for letter, (x, y) in zip(cut.letters, ((0.03, 0.5), (0.97, 0.5), (0.5, 0.95), (0.5, 0.05))):
        axes.text(x, y, letter, transform=axes.transAxes, color="white", fontsize=8, ha="center", va="center")
    return image
