"""Whether a TIFF file holds what it announces: every page once, every part of a page, no more planes and no fewer.

tifffile takes descriptions (OME, ImageJ, its own) at their word: planes that no page holds become zeros, pages that no
plane is mapped to are left out, and it only logs so.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import ImageFileError
from ._guard import unreadable

MOST_PAGES = 1 << 15
_MORE_AXES = "Modulo"  # of OME: further axes within one, with limits of any size


def pages_of(file: Any) -> int | None:
    """How many pages the file announces; None unless every one starts inside it, once: tifffile leaves out others."""
    form, handle = file.tiff, file.filehandle
    seen: set[int] = set()
    position = 8 if form.offsetsize == 8 else 4  # where BigTIFF and classic TIFF keep the place of their first page
    while True:
        handle.seek(position)
        content = handle.read(form.offsetsize)
        if len(content) < form.offsetsize:
            return None
        (start,) = struct.unpack(form.offsetformat, content)
        if start == 0:
            return len(seen)
        if start in seen or len(seen) == MOST_PAGES:  # tifffile would go round for ever, or take minutes
            return None
        seen.add(start)
        handle.seek(start)
        content = handle.read(form.tagnosize)
        if len(content) < form.tagnosize:
            return None
        position = start + form.tagnosize + struct.unpack(form.tagnoformat, content)[0] * form.tagsize


def judge_descriptions(file: Any, pages: int, path: Path) -> None:
    """Raises ImageFileError where OME announces more planes than there are: tifffile makes a list of them all.

    Where OME tells of several files, what it says is not about this one: it is ignored, and pages are slices.
    """
    if not file.is_ome:
        return
    pixels = _ome_pixels(file.ome_metadata, path)
    if pixels is None:
        file.is_ome = False
        return
    most = pages * int(file.pages[0].samplesperpixel)
    announced = sum(math.prod(_number(each, f"Size{axis}") for axis in "ZCT") for each in pixels)
    for each in pixels:
        for part in each:
            announced = max(announced, *(_number(part, name, 0) for name in ("PlaneCount", "NumPlanes")))
    if announced > most:
        raise _mismatch(path, "OME", announced, pages)


def judge_series(file: Any, pages: int, path: Path) -> None:
    """Raises ImageFileError unless the first series has every page of the file in one plane, and no plane else."""
    series = file.series[0]
    planes = math.prod(series.shape) // max(1, series.keyframe.size)
    if file.is_imagej:
        meta = file.imagej_metadata or {}
        announced = math.prod(_count(meta, name) for name in ("frames", "slices", "channels"))
        announced = max(announced, _count(meta, "images"))
        if announced > planes * series.keyframe.samplesperpixel:
            raise _mismatch(path, "ImageJ", announced, pages)
    held = len(series.pages)
    if series.dataoffset is not None and (held == planes == pages or held == pages == 1):
        # Planes follow each other behind the first page, whatever the others say; there need be no others.
        if series.dataoffset + planes * series.keyframe.nbytes > file.filehandle.size:
            raise _mismatch(path, series.kind, planes, pages)
        found = [[series.keyframe]]
    else:
        found = [[page for level in levels for page in level.pages] for levels in (series.levels[:1], series.levels)]
        if planes != held or not any(_each_once(each, pages) for each in found):
            mapped = len({page.offset for page in found[0] if page is not None})
            raise _mismatch(path, series.kind, planes if planes != pages else mapped, pages)
    _refuse_holes(found[0], math.prod(series.keyframe.chunked), path)


def _each_once(found: Sequence[Any], pages: int) -> bool:
    return None not in found and len(found) == pages == len({page.offset for page in found})


def _refuse_holes(pages: Sequence[Any], parts: int, path: Path) -> None:
    """A part that lies nowhere or has no bytes becomes zeros."""
    for page in pages:
        if not (page.dataoffsets and all(page.dataoffsets) and all(page.databytecounts)):
            raise unreadable(path, ValueError("parts of it have no place in the file, or no bytes"))
        if len(page.dataoffsets) < parts:
            raise unreadable(path, ValueError(f"{len(page.dataoffsets)} parts of {parts}"))


def _ome_pixels(description: str, path: Path) -> list[Any] | None:
    """What OME says of every image; None where it speaks of several files, or cannot be understood."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError:  # tifffile, too, takes the pages as they are then
        return None
    own = root.get("UUID")
    names = {path.name.casefold(), ""}
    elements = [(each.tag.rpartition("}")[2], each) for each in root.iter()]
    if any(tag.startswith(_MORE_AXES) for tag, _ in elements):
        raise ImageFileError(f"{path}: its description (OME) tells of further axes; save it with slices as Z alone")
    elsewhere = [
        each
        for tag, each in elements
        if tag == "UUID" and (each.text or "").strip() != own and each.get("FileName", "").casefold() not in names
    ]
    if elsewhere or any(tag == "BinaryOnly" for tag, _ in elements):
        return None
    return [each for tag, each in elements if tag == "Pixels"]


def _number(element: Any, name: str, otherwise: int = 1) -> int:
    text = element.get(name, str(otherwise)).strip()
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError(f"{name} of its description (OME) is no number")
    return int(text)


def _count(meta: dict[str, Any], name: str) -> int:
    value = meta.get(name, 1)
    return value if isinstance(value, int) else 1


def _mismatch(path: Path, kind: str, announced: int, pages: int) -> ImageFileError:
    said = {"ome": "OME", "imagej": "ImageJ"}.get(kind, kind)
    return ImageFileError(
        f"{path}: its description ({said}) speaks of {announced} planes, but the file has {pages} "
        f"page{'s' * (pages != 1)}; export it again, with as many pages as slices and channels"
    )
