"""One case as a picture: what the image shows, what the reference says, what was predicted, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_file
from ..core.geometry import Image
from ..core.labels import Labels

# Okabe and Ito's colours, which people with any colour vision tell apart; the two that vanish on grey come last.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
INCHES = 3.1  # height and largest width of one panel
MOST_CHANNELS = 2


def overview(
    path: Path,
    image: Image,
    reference: np.ndarray | None,
    prediction: np.ndarray,
    labels: Labels,
    title: str,
    channels: Sequence[str] = (),
) -> None:
    """Writes a PNG: a row per chosen slice; columns image channels, reference (unless None) and prediction.

    The rows are the slice with most foreground and, where another slice is meant, the one on which reference and
    prediction differ most. Slices are cut across the axis with the largest spacing. The prediction also shows the
    reference's outline, dotted. Label maps hold the user's values, ``(z, y, x)``; ``channels`` names the channels.
    """
    from matplotlib import rc_context, rcParamsDefault

    with rc_context({name: value for name, value in rcParamsDefault.items() if name != "backend"}):
        _overview(path, image, reference, prediction, labels, title, channels)  # whatever a matplotlibrc here says


def _overview(
    path: Path,
    image: Image,
    reference: np.ndarray | None,
    prediction: np.ndarray,
    labels: Labels,
    title: str,
    channels: Sequence[str],
) -> None:
    from matplotlib.figure import Figure  # without pyplot: no figures that somebody must close

    axis = max(range(3), key=lambda a: (image.geometry.spacing[a], -a))
    rows = _rows(reference, prediction, labels, axis)
    shown = image.array[:MOST_CHANNELS]
    names = [channels[n] if n < len(channels) else f"channel {n}" for n in range(len(shown))]
    names += ["prediction"] if reference is None else ["reference", "prediction"]

    height, width = (n * step for a, (n, step) in enumerate(zip(prediction.shape, image.geometry.spacing)) if a != axis)
    panel_width = min(INCHES, max(INCHES * width / height, 1.2))
    figure = Figure(figsize=(len(names) * panel_width + 0.4, len(rows) * INCHES + 0.9), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(len(rows), len(names), squeeze=False)
    for panels, (where, index) in zip(grid, rows):
        greys = [_grey(channel, index, axis) for channel in shown]
        for panel, grey in zip(panels, [*greys, *[greys[0]] * (len(names) - len(shown))]):
            aspect = (height / grey.shape[0]) / (width / grey.shape[1])
            panel.imshow(grey, cmap="gray", vmin=0, vmax=1, aspect=aspect, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            panel.autoscale(False)
        _fill(panels[-1], np.take(prediction, index, axis), labels)
        if reference is not None:
            _fill(panels[-2], np.take(reference, index, axis), labels)
            _outline(panels[-1], np.take(reference, index, axis), labels)
        panels[0].set_ylabel(f"slice {index}: {where}", fontsize=9)
    for panel, name in zip(grid[0], names):
        panel.set_title(name, fontsize=10)
    _legend(figure, labels, reference is not None)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _rows(reference: np.ndarray | None, prediction: np.ndarray, labels: Labels, axis: int) -> list[tuple[str, int]]:
    """Which slices are shown, and why."""
    values = [value for values in labels.foreground.values() for value in values]
    drawn = prediction if reference is None else reference
    foreground = np.isin(drawn, values)
    if not foreground.any():
        foreground = np.isin(prediction, values)
    most = fullest(foreground, axis)
    if reference is None:
        return [("most foreground", most)]
    differs = reference != prediction
    if labels.ignore is not None:
        differs &= reference != labels.ignore
    worst = fullest(differs, axis)
    if worst == most or not differs.any():
        return [("most foreground", most)]
    return [("most foreground", most), ("largest difference", worst)]


def fullest(mask: np.ndarray, axis: int) -> int:
    """The slice with most voxels set; the middle one when none is."""
    counts = mask.sum(axis=tuple(a for a in range(3) if a != axis))
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def _grey(channel: np.ndarray, index: int, axis: int) -> np.ndarray:
    """One slice as 0..1 between the volume's 0.5th and 99.5th percentile, so that one bright voxel hides nothing."""
    known = channel[np.isfinite(channel)]
    low, high = np.percentile(known, [0.5, 99.5]) if known.size else (0.0, 1.0)
    piece = np.nan_to_num(np.take(channel, index, axis), nan=low)
    return np.clip((piece - low) / max(high - low, 1e-9), 0, 1)


def label_colours(labels: Labels) -> dict[str, str]:
    """Beyond seven labels colours repeat: neighbours in the list still differ."""
    return {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(labels.foreground)}


def _fill(panel: Any, label_map: np.ndarray, labels: Labels) -> None:
    """Every label as a tinted area with a solid outline; what is not annotated as a white veil."""
    from matplotlib.colors import to_rgb

    tinted = [
        (np.isin(label_map, labels.foreground[name]), (*to_rgb(c), 0.3)) for name, c in label_colours(labels).items()
    ]
    if labels.ignore is not None:
        tinted.append((label_map == labels.ignore, (1.0, 1.0, 1.0, 0.25)))
    for mask, tint in tinted:
        layer = np.zeros((*mask.shape, 4))
        layer[mask] = tint
        panel.imshow(layer, aspect=panel.get_aspect(), interpolation="nearest")
        _contour(panel, mask, tint[:3], "solid", 1.4)


def _outline(panel: Any, label_map: np.ndarray, labels: Labels) -> None:
    for values in labels.foreground.values():
        _contour(panel, np.isin(label_map, values), (1.0, 1.0, 1.0), "dotted", 1.2)


def _contour(panel: Any, mask: np.ndarray, colour: tuple[float, ...], style: str, width: float) -> None:
    from matplotlib.collections import LineCollection
    from skimage.measure import find_contours

    closed = np.pad(mask, 1).astype(float)  # so that an outline that meets the image's border is closed there
    lines = [line[:, ::-1] - 1 for line in find_contours(closed, 0.5)]  # (x, y) as matplotlib has them
    panel.add_collection(LineCollection(lines, colors=[colour], linewidths=width, linestyles=style))


def _legend(figure: Any, labels: Labels, outlined: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [
        Patch(facecolor=(c, 0.4), edgecolor=c, label=name) for name, c in label_colours(labels).items()
    ]
    if labels.ignore is not None:
        entries.append(Patch(facecolor=(0, 0, 0, 0.15), edgecolor="grey", label="not annotated"))
    if outlined:
        entries.append(Line2D([], [], color="grey", linestyle="dotted", label="reference, drawn on the prediction"))
    figure.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), 5), fontsize=9, frameon=False)
