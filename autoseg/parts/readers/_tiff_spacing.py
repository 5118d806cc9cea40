"""The spacing of a TIFF stack: from the JSON file beside it; what ImageJ or OME state is told, not taken.

ImageJ's ``spacing`` and ``unit`` and OME's ``PhysicalSize`` are about any microscope's or scanner's lengths, and label
maps of the same images seldom have them: taken from the files, image and labels would lie on different grids.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

from ...core.json_text import read_json_value
from ...errors import ImageFileError, RecordError
from ._guard import present

_MILLIMETRES = {
    "m": 1000.0, "cm": 10.0, "centimeter": 10.0, "mm": 1.0, "millimeter": 1.0, "inch": 25.4, "in": 25.4,
    "\u00b5m": 1e-3, "\u03bcm": 1e-3, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "nm": 1e-6,
    "nanometer": 1e-6,
}  # fmt: skip
_USED = (1.0, 1.0, 1.0)
_MICRO = "\\u00B5"  # as ImageJ writes it, in six characters


def spacing_of(path: Path) -> tuple[float, float, float]:
    """Millimetres along (z, y, x), 1 where no file says so. Raises ImageFileError for a file that says it wrongly."""
    sidecar = _beside(path)
    if sidecar is None:
        return _USED
    present(sidecar)
    try:
        content = read_json_value(sidecar)
    except (RecordError, OSError) as error:
        raise ImageFileError(str(error)) from None
    lengths = content.get("spacing") if isinstance(content, dict) else None
    if not isinstance(lengths, list) or len(lengths) != 3 or not all(type(each) in (int, float) for each in lengths):
        raise ImageFileError(f'{sidecar}: expected {{"spacing": [z, y, x]}} with three lengths in mm')
    z, y, x = map(float, lengths)
    if not (min(z, y, x) > 0 and max(z, y, x) < math.inf):
        raise ImageFileError(f"{sidecar}: spacing must be positive, found {[z, y, x]}")
    return (z, y, x)


def sidecar_of(path: Path, channel: bool = False) -> Path:
    """The JSON file of a case; ``channel`` where the name of ``path`` ends in its number."""
    stem = path.name[: -len(path.suffix)]
    return path.with_name((re.sub(r"_\d{4}$", "", stem) if channel else stem) + ".json")


def not_taken(file: Any, path: Path) -> str:
    """What the file states of lengths that is not used, in words; nothing where a file beside it decides."""
    if _beside(path) is not None:
        return ""
    try:
        stated = _by_ome(file.ome_metadata) if file.is_ome else _by_imagej(file) if file.is_imagej else None
    except (ValueError, ArithmeticError, TypeError):
        return ""
    if stated is None or stated == _USED:
        return ""
    lengths = " x ".join("?" if length is None else f"{length:.4g}" for length in stated)
    name = sidecar_of(path, channel=True).name
    return f"states voxels of {lengths} mm, which is not read; without {name} they are taken as 1 x 1 x 1 mm"


_Stated = tuple[float | None, float | None, float | None]


def _beside(path: Path) -> Path | None:
    """The first that is there, whatever it is."""
    both = (sidecar_of(path, channel=True), sidecar_of(path))
    return next((each for each in both if os.path.lexists(each)), None)


def _by_ome(description: str) -> _Stated | None:
    from xml.etree import ElementTree

    root = ElementTree.fromstring(description)
    pixels = next((each for each in root.iter() if each.tag.endswith("Pixels")), root)
    lengths = []
    for axis in "ZYX":
        factor = _MILLIMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        text = pixels.get(f"PhysicalSize{axis}")
        lengths.append(_length(float(text) * factor) if text and factor else None)
    return (lengths[0], lengths[1], lengths[2]) if any(lengths) else None


def _by_imagej(file: Any) -> _Stated | None:
    meta = file.imagej_metadata or {}
    factor = _MILLIMETRES.get(str(meta.get("unit", "")).replace(_MICRO, "u"))
    if factor is None or "spacing" not in meta:
        return None
    tags = file.pages[0].tags
    dots = [tags.valueof(f"{axis}Resolution") for axis in "YX"]  # pixels in a unit, as a fraction
    y, x = (_length(each[1] / each[0] * factor) if each and each[0] else None for each in dots)
    return (_length(abs(float(meta["spacing"])) * factor), y, x)


def _length(value: float) -> float | None:
    return value if 0 < value < math.inf else None
