"""Maps of an explanation as one picture: a row for each, three planes through its largest value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_file
from ..evaluation.picture import default_style, shades, window
from ..inference.predictor import Predictor
from ..pipeline import explain as story
from ..pipeline.explain import Explained, ExplainedMap
from ..workspace import Workspace
from .planes import Plane, planes, turned, turned_spacing

INCHES = 2.8
COLOURS, SIGNED = "inferno", "RdBu_r"
FAINT = 0.15  # of the largest value: below, the image shows through


def explain_all(
    found: Predictor[Any],
    cases: Sequence[str],
    folder: Path,
    workspace: Workspace,
    *,
    methods: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> list[ExplainedMap]:
    """Maps and a picture of every case in ``folder``, and ``explained.json`` about them.

    ``cases`` are names of cases of the dataset that the model was trained on, or image files; ``labels`` none takes all
    that are found. Raises UsageError, UnknownPartError, ModelError, DatasetError or OSError.
    """
    model, parts = story.only_model(found), story.methods(methods, workspace.trusted)
    heads, wanted = story.heads_of(model, labels), story.cases_of(model, cases, workspace)
    story.prepare_folder(folder)
    maps: list[ExplainedMap] = []
    story.write_record(folder, maps)  # whose folder this is, should it be killed
    for case in wanted:
        explained = story.explain(model, case, folder, parts, heads)
        draw_explained(folder / f"{case.key}.png", explained)
        maps += explained.maps
        story.write_record(folder, maps)
    return maps


def draw_explained(path: Path, found: Explained) -> None:
    """Writes a PNG. Positive values are opaque where they are large; negative ones, if there are any, are blue."""
    with default_style():
        figure = _figure(found)
        with atomic_file(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png", metadata={"Software": "autoseg"})


def _figure(found: Explained) -> Any:
    from matplotlib.figure import Figure

    geometry = found.image.geometry
    shown, spacing = planes(geometry), turned_spacing(geometry)
    grey = turned(shades(found.image.array[0], window(found.image.array[0])), geometry)
    figure = Figure(figsize=(INCHES * len(shown) + 1.6, (INCHES + 0.3) * len(found.maps)), layout="constrained")
    axes = figure.subplots(len(found.maps), len(shown), squeeze=False)
    for line, told, array in zip(axes, found.maps, found.arrays):
        heat = turned(array, geometry)
        peak = np.unravel_index(int(heat.argmax()), heat.shape)
        most = max(float(np.abs(heat).max()), 1e-12)
        signed = bool(heat.min() < 0)
        images = [
            _panel(each, plane, grey, heat, int(peak[plane.axis]), spacing, most, signed)
            for each, plane in zip(line, shown)
        ]
        line[0].set_ylabel(f"{told.label}: {told.method}", fontsize=9)
        figure.colorbar(images[0], ax=line.tolist(), shrink=0.8).set_label(told.unit, fontsize=7)
    figure.suptitle(f"{found.maps[0].case}: where the evidence lies", fontsize=11)
    return figure


def _panel(
    axes: Any,
    plane: Plane,
    grey: np.ndarray,
    heat: np.ndarray,
    index: int,
    spacing: tuple[float, float, float],
    most: float,
    signed: bool,
) -> Any:
    rows, columns = (spacing[axis] for axis in range(3) if axis != plane.axis)
    shown = {"aspect": rows / columns, "interpolation": "nearest"}
    axes.imshow(plane.cut(grey, index), cmap="gray", vmin=0, vmax=1, **shown)
    values = plane.cut(heat, index)
    opacity = np.clip(np.abs(values) / most, 0, 1)
    opacity = np.where(opacity < FAINT, 0, 0.25 + 0.6 * opacity)
    colours, low = (SIGNED, -most) if signed else (COLOURS, 0.0)
    image = axes.imshow(values, cmap=colours, vmin=low, vmax=most, alpha=opacity, **shown)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{plane.name} {plane.told(index, heat.shape[plane.axis])}", fontsize=7)
    for letter, (x, y) in zip(plane.letters or (), ((0.03, 0.5), (0.97, 0.5), (0.5, 0.95), (0.5, 0.05))):
        axes.text(x, y, letter, transform=axes.transAxes, color="white", fontsize=8, ha="center", va="center")
    return image
