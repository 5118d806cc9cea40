"""Functions about pictures and surfaces of single files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from . import _arguments as given

if TYPE_CHECKING:
    from ..pipeline.mesh import Meshed


def plot(
    image: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    labels: str | Path | None = None,
    reference: str | Path | None = None,
    plane: str | None = None,
    slice: int | None = None,
    sheet: bool = False,
    window: tuple[float, float] | None = None,
    opacity: float = 0.3,
    contours: bool = True,
    channel: int | None = None,
) -> Path:
    """Draws image files of one grid, a row each, with a label map on them; returns ``output``, a .png or .svg.

    ``labels`` is tinted with ``opacity`` and outlined, unless ``contours`` is False; ``reference`` is a dotted line. A
    dataset.json beside a label map, or one folder above, names its labels. ``plane`` is "axial", "coronal" or
    "sagittal", None: all three; ``slice`` counts from 1 (from the feet, the front or the right), None: the one with
    most labelled voxels; ``sheet`` draws all slices of the plane. ``window`` are the values drawn black and white.
    ``channel`` counts from 0. Raises UsageError, DatasetError or ImageFileError.
    """
    from ..reporting.plot import Wish
    from ..reporting.plot import plot as story

    paths = [image] if isinstance(image, str | os.PathLike) else image
    if not isinstance(paths, list | tuple):
        raise UsageError(f"image must be a path or a list of paths, found {image!r:.100}")
    between = None
    if window is not None:
        if not isinstance(window, list | tuple) or len(window) != 2:
            raise UsageError(f"window must be two values, found {window!r:.100}")
        low, high = (given.number(each, "window", "two numbers", lambda _: True) for each in window)
        between = low, high
    wish = Wish(
        plane=given.optional_text(plane, "plane"),
        slice=given.count(slice, "slice"),
        sheet=bool(sheet),
        window=between,
        opacity=given.number(opacity, "opacity", "a number from 0 to 1", lambda found: 0 <= found <= 1),
        contours=bool(contours),
        channel=given.count(channel, "channel", least=0),
    )
    return story(
        [given.path(each, "the image") for each in paths],
        given.path(output, "output"),
        labels=given.optional_path(labels, "labels"),
        reference=given.optional_path(reference, "reference"),
        wish=wish,
    )


def mesh(label_map: str | Path, output: str | Path, *, label: str | None = None, smooth: bool = False) -> list[Meshed]:
    """Writes the surface of ``label``, or of every label that occurs, as STL or PLY, as ``output`` ends: in mm and LPS.

    Of several labels each becomes a file, ``OUTPUT_LABEL.stl``. ``smooth`` takes away the steps of voxels and keeps
    their volume. Returns path, label, volume in ml and triangles of each. Raises UsageError, DatasetError or
    ImageFileError.
    """
    from ..pipeline.mesh import mesh as story

    return story(
        given.path(label_map, "the label map"),
        given.path(output, "output"),
        label=given.optional_text(label, "label"),
        smooth=bool(smooth),
    )
