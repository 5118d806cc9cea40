"""One case as slices in three planes: the image, the reference, the prediction and where both differ, as small PNGs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.geometry import Image
from ..core.labels import Labels
from ..errors import DatasetError
from ..evaluation.picture import COLOURS, fullest, label_colours, shades, window
from .blocks import CasePicture, View
from .planes import Plane, planes, turned, turned_spacing

MOST_PIXELS = 360  # along an edge; larger slices are made smaller
MISSED, ADDED, OTHER = 1, 2, 3
ERRORS = (("missed", "#4D7CFF"), ("added", "#FF4B2B"), ("another label", "#F0E442"))
"""Voxels of the reference only, of the prediction only, and of both with different labels."""
UNSURE = (("0.25 to 0.5 bits", "#F0E442"), ("0.5 to 0.9 bits", "#FF8C1A"), ("0.9 bits and more", "#FF1F6B"))
"""Entropy of a voxel: one bit is the toss of a coin between two labels."""
BITS = (0.25, 0.5, 0.9)
COLOUR_NAMES = (("r", "g", "b"), ("red", "green", "blue"))
NOT_ANNOTATED = "#FFFFFF"
FILLED = 255


@dataclass(frozen=True)
class Drawing:
    """What is drawn of one case, turned (z, y, x)."""

    grey: np.ndarray
    """The image, one channel of it."""
    reference: np.ndarray
    """Number of the label that is seen, from 1; 0: background; one more than there are labels: not annotated."""
    prediction: np.ndarray | None
    errors: np.ndarray | None
    spacing: tuple[float, float, float]
    planes: tuple[Plane, ...]
    marked: tuple[tuple[str, str], ...] = ERRORS
    """What numbers of ``errors`` mean, and their colours."""
    colours: tuple[np.ndarray, ...] = ()
    """Red, green and blue of a picture in colour, turned likewise."""


def legend(labels: Labels) -> tuple[tuple[str, str], ...]:
    """Label to colour; beyond seven they repeat."""
    return (*label_colours(labels).items(), *([("not annotated", NOT_ANNOTATED)] if labels.ignore is not None else []))


def picture(case: str, told: str, drawing: Drawing, labels: Labels, *, at_errors: bool = False) -> CasePicture:
    """Slices with the most labelled voxels or, ``at_errors``, with the most errors where there are any."""
    between = window(np.stack(drawing.colours) if drawing.colours else drawing.grey)
    views = tuple(_view(drawing, plane, between, labels, at_errors) for plane in drawing.planes)
    return CasePicture(case, told, views)


def how_seen(labels: Labels) -> str:
    """What to know of the colours of labels in a picture."""
    told = "" if labels.KIND == "exclusive" else " Where labels overlap, the last in the list is seen."
    repeated = len(labels.foreground) > len(COLOURS)
    again = f" Colours repeat after {len(COLOURS)} labels; the viewer names the one under its crosshair."
    return told + (again if repeated else "")


def colours_of(channels: Sequence[str]) -> tuple[int, ...]:
    """Which channels are red, green and blue; none where they do not say so."""
    names = [name.strip().lower() for name in channels]
    for three in COLOUR_NAMES:
        if all(names.count(name) == 1 for name in three):
            return tuple(names.index(name) for name in three)
    return ()


def shown_channel(image: Image) -> int:
    """The first that is there."""
    return next(number for number in range(len(image.array)) if number not in image.absent)


def unsure(entropy: np.ndarray) -> np.ndarray:
    """Bits (z, y, x) as numbers of ``UNSURE`` from 1; 0: surer than all of them."""
    return np.digitize(entropy, BITS).astype(np.uint8)


def drawing_of(
    image: Image,
    reference: np.ndarray,
    prediction: np.ndarray | None,
    labels: Labels,
    marks: np.ndarray | None = None,
    colours: tuple[int, ...] = (),
) -> Drawing:
    """What is drawn of a case: a reference, or what stands in its place, and a prediction if there is one.

    ``marks`` (z, y, x), numbers of ``UNSURE`` from 1, take the place of errors. Label maps hold the user's values
    (z, y, x) as in the file. ``colours`` are the channels that are red, green and blue, if any. Raises DatasetError
    where label maps are not of the image's size or hold a value that no label has.
    """
    for name, label_map in (("reference", reference), ("prediction", prediction), ("uncertainty", marks)):
        if label_map is not None and label_map.shape != image.array.shape[1:]:
            raise DatasetError(f"the {name} has {label_map.shape} voxels, the image {image.array.shape[1:]}")
    there = labels.encode(reference)
    found = None if prediction is None else labels.encode(prediction)
    seen = _seen(labels)
    coloured = not image.absent and max(colours, default=0) < len(image.array)
    errors = marks if found is None else _errors(there, found, seen, labels.ignore_index)

    def turn(array: np.ndarray) -> np.ndarray:
        return turned(array, image.geometry)

    return Drawing(
        turn(image.array[shown_channel(image)]),
        turn(seen[there]),
        None if found is None else turn(seen[found]),
        None if errors is None else turn(errors),
        turned_spacing(image.geometry),
        planes(image.geometry),
        ERRORS if marks is None else UNSURE,
        tuple(turn(image.array[place]) for place in colours) if coloured else (),
    )


def _seen(labels: Labels) -> np.ndarray:
    """Label index to what is drawn of it: the last label that it belongs to, which lies on top of the others."""
    place = {value: index for index, value in enumerate(labels.values)}
    table = np.zeros(len(place) + 1, np.uint16)
    for number, values in enumerate(labels.foreground.values(), 1):
        table[[place[value] for value in values]] = number
    table[-1] = len(labels.foreground) + 1 if labels.ignore_index is not None else 0
    return table


def _errors(there: np.ndarray, found: np.ndarray, seen: np.ndarray, ignored: int | None) -> np.ndarray:
    """Of label indices; what is not annotated is no error."""
    wrong = there != found
    if ignored is not None:
        wrong &= there != ignored
    kinds = np.zeros(there.shape, np.uint8)
    kinds[wrong] = OTHER
    kinds[wrong & (seen[found] == 0)] = MISSED
    kinds[wrong & (seen[there] == 0)] = ADDED
    return kinds


def _view(drawing: Drawing, plane: Plane, between: tuple[float, float], labels: Labels, at_errors: bool) -> View:
    drawn = drawing.reference
    if drawing.prediction is not None and not drawn.any():
        drawn = drawing.prediction
    wanted = drawing.errors if at_errors and drawing.errors is not None and drawing.errors.any() else drawn
    index = fullest(wanted != 0, plane.axis)
    step = -(-max(plane.cut(drawing.grey, index).shape) // MOST_PIXELS)
    seen = drawing.colours or (drawing.grey,)
    pieces = [_smaller(_grey(plane.cut(each, index), between), step) for each in seen]
    height, width = pieces[0].shape

    def mapped(volume: np.ndarray) -> np.ndarray:
        piece = plane.cut(volume, index)
        first, second = (min(step // 2, size - 1) for size in piece.shape)
        return piece[first::step, second::step][:height, :width]

    reference = mapped(drawing.reference)
    across = [length for axis, length in enumerate(drawing.spacing) if axis != plane.axis]
    colours = [colour for _, colour in legend(labels)]
    return View(
        plane=plane.name,
        place=_place(index, drawing.grey.shape[plane.axis], step, plane),
        width=width,
        height=height,
        aspect=float(f"{width * across[1] / (height * across[0]):.6g}"),
        letters=plane.letters,
        image=_png(np.stack(pieces, -1) if drawing.colours else pieces[0], None),
        reference=_png(reference, colours),
        outline=outline(reference),
        prediction=None if drawing.prediction is None else _png(mapped(drawing.prediction), colours),
        errors=None
        if drawing.errors is None
        else _png(mapped(drawing.errors), [colour for _, colour in drawing.marked]),
    )


def _place(index: int, count: int, step: int, plane: Plane) -> str:
    smaller = f"drawn {step} times smaller" if step > 1 else ""
    return "; ".join(filter(None, (plane.told(index, count), smaller)))


def _grey(piece: np.ndarray, between: tuple[float, float]) -> np.ndarray:
    return (255 * shades(piece, between)).astype(np.uint8)


def _smaller(piece: np.ndarray, step: int) -> np.ndarray:
    """Means of squares of ``step`` pixels; what is left over at the end is dropped."""
    if step == 1:
        return piece
    rows, columns = (max(1, size // step) for size in piece.shape)
    squares = piece[: rows * step, : columns * step]
    if squares.shape != (rows * step, columns * step):  # thinner than a square
        return piece[::step, ::step][:rows, :columns]
    return squares.reshape(rows, step, columns, step).mean((1, 3)).astype(np.uint8)


def _png(pixels: np.ndarray, colours: Sequence[str] | None) -> str:
    """The address that holds the file: of shades, of red, green and blue (rows, columns, 3), or of numbers of
    ``colours``, from 1, with 0 for nothing."""
    from PIL import Image as PillowImage

    if colours is None:
        made = PillowImage.fromarray(np.ascontiguousarray(pixels))
        options = {}
    else:
        repeated = np.where(pixels == 0, 0, (pixels.astype(np.int64) - 1) % FILLED + 1).astype(np.uint8)
        made = PillowImage.fromarray(repeated)
        table = [0, 0, 0]
        for number in range(FILLED):
            colour = colours[number % len(colours)]
            table += [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        made.putpalette(table)
        options = {"transparency": 0}
    with io.BytesIO() as file:
        made.save(file, "PNG", optimize=True, **options)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def outline(numbers: np.ndarray) -> str:
    """The edges between pixels of different numbers, (rows, columns), as the path of an SVG in pixels."""
    closed = np.pad(numbers, 1)
    across = closed[1:, 1:-1] != closed[:-1, 1:-1]  # (rows + 1, columns): edges that lie
    along = closed[1:-1, 1:] != closed[1:-1, :-1]  # (rows, columns + 1): edges that stand
    lying = [f"M{start} {row}h{length}" for row, start, length in _runs(across)]
    standing = [f"M{column} {start}v{length}" for column, start, length in _runs(along.T)]
    return "".join(lying + standing)


def _runs(mask: np.ndarray) -> list[tuple[int, int, int]]:
    """Row, first column and length of every run of set elements."""
    steps = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return list(zip(rows.tolist(), starts.tolist(), (ends - starts).tolist()))
