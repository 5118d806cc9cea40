"""What `autoseg plot` draws: images of one grid, with a label map and a reference on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.geometry import Geometry
from ..core.regular import regular
from ..errors import DatasetError, UsageError
from ..evaluation.picture import TINT, fullest, shades, window
from ..parts.readers import ending_of, read_file, read_header, resampling, unlike
from ..parts.readers.natural_image import ENDINGS as PICTURES
from ..pipeline.named_labels import NamedMap
from ..pipeline.replaced import refuse_existing
from .figure import KINDS, Drawn, Panel, draw
from .planes import PLANES, Plane, planes, turned, turned_spacing

NAMES = tuple(plane.name for plane in PLANES)
MEASURED = 1 << 22  # voxels of which a window is made
MOST_PIXELS = 3000  # along an edge of all slices together
GAP = 1  # pixels between them


@dataclass(frozen=True)
class Wish:
    """What is seen of a case, and how."""

    plane: str | None = None
    """One of ``NAMES``; None: all three, or with ``slice`` or ``sheet`` the axial one."""
    slice: int | None = None
    """Counted from 1; None: the one with most labelled voxels."""
    sheet: bool = False
    """All slices, side by side."""
    window: tuple[float, float] | None = None
    """Values that are drawn black and white."""
    opacity: float = TINT
    contours: bool = True
    channel: int | None = None
    """Of images that hold several; None: the first, or the colours of a picture."""

    def __post_init__(self) -> None:
        """Raises UsageError for what cannot be drawn."""
        if self.plane not in (None, *NAMES):
            raise UsageError(f"plane must be one of {', '.join(NAMES)}, found {self.plane!r:.100}")
        if self.sheet and self.slice is not None:
            raise UsageError("--sheet draws all slices, and --slice one: leave one of them out")
        if self.window is not None and not -math.inf < self.window[0] < self.window[1] < math.inf:
            raise UsageError(f"window must be two values, the lower one first, found {self.window!r:.100}")
        if not 0 <= self.opacity <= 1:
            raise UsageError(f"opacity must be from 0 to 1, found {self.opacity!r:.100}")

    def planes_of(self, geometry: Geometry) -> tuple[Plane, ...]:
        """Raises UsageError where a picture is asked for what only volumes have."""
        if geometry.dimensions == 2:
            if self.plane or self.sheet or self.slice not in (None, 1):
                raise UsageError("the image is 2-D: it has no planes and one slice")
            return planes(geometry)
        one = self.plane or ("axial" if self.sheet or self.slice is not None else None)
        return tuple(plane for plane in PLANES if one in (None, plane.name))


@dataclass(frozen=True)
class _Seen:
    """One image and what is drawn on it, turned (z, y, x)."""

    name: str
    grey: np.ndarray
    """Of a colour picture with a fourth axis."""
    between: tuple[float, float]
    label_map: np.ndarray | None
    reference: np.ndarray | None
    background: tuple[int, int]
    """In either."""
    spacing: tuple[float, float, float]


def plot(
    images: Sequence[Path],
    output: Path,
    *,
    labels: Path | None = None,
    reference: Path | None = None,
    wish: Wish | None = None,
) -> Path:
    """Draws the images, a row each, and on them label maps; returns ``output``, which ends in .png or .svg.

    ``reference`` is drawn as a dotted line. Names of labels are those of a dataset.json beside the label map. Raises
    UsageError for another ending, a file that is there already, and slices or channels that are not; DatasetError for
    files on different grids and values that no label has; ImageFileError.
    """
    wish = wish or Wish()
    if output.suffix.lower() not in KINDS:
        raise UsageError(f"{output.name}: -o must end in {' or '.join(KINDS)}")
    refuse_existing(output)
    if not images:
        raise UsageError("give at least one image")
    headers = [read_header(path) for path in images]
    grid = headers[0].geometry
    for path, header in zip(images, headers):  # before voxels are read
        _refuse_elsewhere(path, header.geometry, images[0], grid)
    chosen = wish.planes_of(grid)
    loaded = [_shown(read_file(path)[0], grid, path, wish.channel) for path in images]
    maps = [None if path is None else _on_grid(path, images[0], grid) for path in (labels, reference)]
    drawn, marked = maps
    found = next((each for each in (drawn, marked) if each is not None), None)
    seen = [_seen(path, array, grid, drawn, marked, wish) for path, array in zip(images, loaded)]
    anything = None if found is None else turned(_foreground(found), grid)
    slices = {plane.name: _slice(plane, seen[0], anything, wish) for plane in chosen}
    several = len(images) > 1
    rows = [[_panel(each, plane, slices[plane.name], wish.sheet, several) for plane in chosen] for each in seen]
    known = not all(ending_of(path).lower() in PICTURES for path in images)
    of_labels, of_reference = (None if each is None else each.labels for each in maps)
    how = Drawn(of_labels, of_reference, wish.opacity, wish.contours, known)
    draw(output, rows, how)
    return output


def _shown(array: np.ndarray, geometry: Geometry, path: Path, channel: int | None) -> np.ndarray:
    """(z, y, x), or with a last axis of colours, of (channels, z, y, x)."""
    if channel is not None and channel >= len(array):
        raise UsageError(f"{path} holds {len(array)} channel{'s' * (len(array) > 1)}; --channel counts from 0")
    if channel is None and geometry.dimensions == 2 and len(array) == 3:
        return np.moveaxis(array, 0, -1)
    found: np.ndarray = array[channel or 0]
    return found


def _on_grid(path: Path, image: Path, grid: Geometry) -> NamedMap:
    found = NamedMap.read(path)
    _refuse_elsewhere(path, found.geometry, image, grid)
    return found


def _refuse_elsewhere(path: Path, geometry: Geometry, first: Path, grid: Geometry) -> None:
    if wrong := unlike(grid, geometry):
        cure = f"resample it first, {resampling(nearest=True)}"
        raise DatasetError(f"{path}: lies on another grid than {first}: {'; '.join(wrong)}; {cure}")


def _foreground(found: NamedMap) -> np.ndarray:
    table = np.zeros(len(found.labels.values) + 1, bool)
    for name in found.labels.foreground:
        table |= found.of_label(name)
    return table[found.indices]


def _seen(
    path: Path, array: np.ndarray, grid: Geometry, drawn: NamedMap | None, marked: NamedMap | None, wish: Wish
) -> _Seen:
    sample = regular(array.reshape(-1), MEASURED)
    return _Seen(
        path.name.removesuffix(ending_of(path)),
        array if array.ndim == 4 else turned(array, grid),
        window(sample) if wish.window is None else wish.window,
        None if drawn is None else turned(drawn.array, grid),
        None if marked is None else turned(marked.array, grid),
        (int(drawn.labels.values[0]) if drawn else 0, int(marked.labels.values[0]) if marked else 0),
        turned_spacing(grid),
    )


def _slice(plane: Plane, seen: _Seen, anything: np.ndarray | None, wish: Wish) -> int:
    count = seen.grey.shape[plane.axis]
    if wish.slice is not None:
        if not 1 <= wish.slice <= count:
            raise UsageError(f"there is no {plane.name} slice {wish.slice}; they are counted from 1 to {count}")
        return wish.slice - 1
    return count // 2 if anything is None else fullest(anything, plane.axis)


def _panel(seen: _Seen, plane: Plane, index: int, sheet: bool, several: bool) -> Panel:
    rows, columns = (length for axis, length in enumerate(seen.spacing) if axis != plane.axis)
    count = seen.grey.shape[plane.axis]
    named = [seen.name] * several + [plane.name] * (plane.letters is not None)
    if sheet:
        return _sheet(seen, plane, (rows, columns), ", ".join(named))
    grey = shades(plane.cut(seen.grey, index), seen.between)
    return Panel(
        ", ".join([*named, *filter(None, [plane.told(index, count)])]),
        grey,
        None if seen.label_map is None else plane.cut(seen.label_map, index),
        None if seen.reference is None else plane.cut(seen.reference, index),
        plane,
        (rows, columns),
        grey.shape[1],
    )


def _sheet(seen: _Seen, plane: Plane, pixel: tuple[float, float], named: str) -> Panel:
    count = seen.grey.shape[plane.axis]
    height, width = plane.cut(seen.grey, 0).shape
    across = min(count, max(1, round(math.sqrt(count * height * pixel[0] / (width * pixel[1])))))
    down = -(-count // across)
    step = max(1, -(-max(down * height, across * width) // MOST_PIXELS))
    high, wide = -(-height // step) + GAP, -(-width // step) + GAP
    corners = [(index // across * high, index % across * wide) for index in range(count)]

    def together(volume: np.ndarray, between: tuple[float, float] | None, fill: int) -> np.ndarray:
        whole = np.full((down * high - GAP, across * wide - GAP), fill, np.float32 if between else volume.dtype)
        for index, (row, column) in enumerate(corners):
            piece = plane.cut(volume, index)[::step, ::step]
            tile = shades(piece, between) if between else piece
            whole[row : row + high - GAP, column : column + wide - GAP] = tile
        return whole

    of_labels, of_reference = seen.background
    smaller = f", drawn {step} times smaller" if step > 1 else ""
    return Panel(
        f"{named}, all {count} slices, {plane.order}{smaller}",
        together(seen.grey, seen.between, 0),
        None if seen.label_map is None else together(seen.label_map, None, of_labels),
        None if seen.reference is None else together(seen.reference, None, of_reference),
        plane,
        (pixel[0] * step, pixel[1] * step),
        wide - GAP,
        tuple((row, column, index + 1) for index, (row, column) in enumerate(corners)),
    )
