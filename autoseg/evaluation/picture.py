"""One case as a picture: what the image shows, what the reference says, what was predicted, side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_file
from ..core.geometry import Image, bounding_slices
from ..core.labels import Labels

# Okabe and Ito's colours, which people with any colour vision tell apart; the two that vanish on grey come last.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
INCHES = 3.1  # height and largest width of one panel
MOST_CHANNELS = 2
TINT = 0.3  # opacity of a label
VEIL, VEILED = "#FFFFFF", 0.8  # what is not annotated: its colour, and its opacity as a share of a label's


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
    with default_style():
        _overview(path, image, reference, prediction, labels, title, channels)


def default_style() -> AbstractContextManager[None]:
    """Pictures look the same, whatever a matplotlibrc in the current folder or at home says."""
    from matplotlib import rc_context, rcParamsDefault

    return rc_context({name: value for name, value in rcParamsDefault.items() if name != "backend"})


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
            outline(panels[-1], np.take(reference, index, axis), labels)
        panels[0].set_ylabel(f"slice {index}: {where}", fontsize=9)
    for panel, name in zip(grid[0], names):
        panel.set_title(name, fontsize=10)
    legend(figure, labels, [*labels.foreground], None if reference is None else "reference, drawn on the prediction")
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
    return shades(np.take(channel, index, axis), window(channel))


def window(channel: np.ndarray) -> tuple[float, float]:
    """What is drawn black and white: the 0.5th and 99.5th percentile, so that one bright voxel hides nothing."""
    known = channel[np.isfinite(channel)]
    low, high = np.percentile(known, [0.5, 99.5]) if known.size else (0.0, 1.0)
    return float(low), float(high)


def shades(piece: np.ndarray, between: tuple[float, float]) -> np.ndarray:
    """Values as 0 to 1 between those that are drawn black and white."""
    low, high = between
    found: np.ndarray = np.clip(
        (np.nan_to_num(piece, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-9), 0, 1
    )
    return found


def label_colours(labels: Labels) -> dict[str, str]:
    """Beyond seven labels colours repeat: neighbours in the list still differ."""
    return {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(labels.foreground)}


def _fill(panel: Any, label_map: np.ndarray, labels: Labels) -> None:
    """Every label as a tinted area with a solid outline; what is not annotated as a white veil."""
    panel.imshow(overlay(label_map, labels, TINT), aspect=panel.get_aspect(), interpolation="nearest")
    for mask, colour in areas(label_map, labels):
        contour(panel, mask, colour, "solid", 1.4)


def overlay(label_map: np.ndarray, labels: Labels, opacity: float) -> np.ndarray:
    """(rows, columns, 4) from 0 to 1: red, green, blue and opacity of a slice of a label map, later labels on top."""
    from matplotlib.colors import to_rgb

    layer = np.zeros((*label_map.shape, 4), np.float32)
    for mask, colour in areas(label_map, labels):
        share = opacity if colour != VEIL else opacity * VEILED
        below = layer[mask]
        behind = below[:, 3:] * (1 - share)
        whole = share + behind
        layer[mask] = np.hstack(
            ((share * np.array(to_rgb(colour)) + behind * below[:, :3]) / np.maximum(whole, 1e-9), whole)
        )
    return layer


def areas(label_map: np.ndarray, labels: Labels) -> Iterator[tuple[np.ndarray, str]]:
    """Masks and colours of the labels of a slice, and of what is not annotated, that occur in it."""
    there = set(np.unique(label_map).tolist())
    for name, colour in label_colours(labels).items():
        if found := there.intersection(labels.foreground[name]):
            yield np.isin(label_map, list(found)), colour
    if labels.ignore in there:
        yield label_map == labels.ignore, VEIL


def outline(panel: Any, label_map: np.ndarray, labels: Labels) -> None:
    """Dotted and white: of a reference."""
    for values in labels.foreground.values():
        contour(panel, np.isin(label_map, values), "white", "dotted", 1.2)


def contour(panel: Any, mask: np.ndarray, colour: str, style: str, width: float) -> None:
    """The outline of a mask (rows, columns), half way between its pixels and others."""
    from matplotlib.collections import LineCollection
    from skimage.measure import find_contours

    box = bounding_slices(mask)
    if box is None:
        return
    closed = np.pad(mask[box], 1).astype(float)  # so that an outline that meets the image's border is closed there
    start = np.array([along.start for along in box]) - 1
    lines = [(line + start)[:, ::-1] for line in find_contours(closed, 0.5)]  # (x, y) as matplotlib has them
    panel.add_collection(LineCollection(lines, colors=[colour], linewidths=width, linestyles=style))


def legend(figure: Any, labels: Labels, names: Collection[str], outlined: str | None, columns: int = 5) -> None:
    """Below the panels: colours of the labels ``names``, and what the dotted line is, if there is one."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [
        Patch(facecolor=(c, 0.4), edgecolor=c, label=name) for name, c in label_colours(labels).items() if name in names
    ]
    if labels.ignore is not None:
        entries.append(Patch(facecolor=(0, 0, 0, 0.15), edgecolor="grey", label="not annotated"))
    if outlined is not None:
        entries.append(Line2D([], [], color="grey", linestyle="dotted", label=outlined))
    if entries:
        figure.legend(
            handles=entries, loc="outside lower center", ncols=min(len(entries), columns), fontsize=9, frameon=False
        )
