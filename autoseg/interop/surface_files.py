"""Surfaces as files: binary STL (3D Systems 1988) and binary PLY (Turk 1994), both little endian, in mm and LPS.

``SPACE=LPS`` in the header or a comment is what 3D Slicer looks for there; it is also what Slicer takes without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core.files import atomic_file
from .surfaces import Surface

STL_HEADER = 80  # bytes; a file that begins with "solid" would be taken for text
AT_ONCE = 1 << 18  # triangles


def write_stl(surface: Surface, label: str, path: Path) -> None:
    """Each triangle with its normal and corners as float32."""
    facet = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(_told(label)[:STL_HEADER].ljust(STL_HEADER))
        file.write(np.uint32(len(surface.triangles)).astype("<u4").tobytes())
        for start in range(0, len(surface.triangles), AT_ONCE):
            part = Surface(surface.points, surface.triangles[start : start + AT_ONCE])
            facets, faces = np.zeros(len(part.triangles), facet), part.faces
            lengths = np.linalg.norm(faces, axis=1, keepdims=True)
            facets["normal"] = faces / np.maximum(lengths, np.finfo(float).tiny)
            facets["corners"] = surface.points[part.triangles]
            file.write(facets.tobytes())


def write_ply(surface: Surface, label: str, path: Path) -> None:
    """Points as float32, triangles as numbers of points."""
    header = [
        b"ply",
        b"format binary_little_endian 1.0",
        b"comment " + _told(label),
        b"element vertex %d" % len(surface.points),
        *(b"property float " + axis for axis in (b"x", b"y", b"z")),
        b"element face %d" % len(surface.triangles),
        b"property list uchar int vertex_indices",
        b"end_header",
    ]
    face = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(b"\n".join(header) + b"\n")
        file.write(surface.points.astype("<f4").tobytes())
        for start in range(0, len(surface.triangles), AT_ONCE):
            part = surface.triangles[start : start + AT_ONCE]
            faces = np.zeros(len(part), face)
            faces["count"], faces["corners"] = 3, part
            file.write(faces.tobytes())


def _told(label: str) -> bytes:
    return b"autoseg SPACE=LPS unit=mm label " + label.encode("unicode_escape")


WRITERS: dict[str, Callable[[Surface, str, Path], None]] = {".stl": write_stl, ".ply": write_ply}
"""By the ending of a file."""
