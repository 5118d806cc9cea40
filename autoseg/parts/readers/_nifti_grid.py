"""Where a NIfTI header places its voxels: quaternion, matrix, or what ITK makes of both.

The quaternion formula: nifti1.h, nifti.nimh.nih.gov.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...core.geometry import SLICE_SPACING_2D, Geometry
from ...errors import ImageFileError
from . import simpleitk
from ._grid import ROUNDING, in_lps
from ._nifti_header import GRID_FIELDS, NIFTI_1, NO_EXTENSIONS, Layout

_SPATIAL_UNITS = 7  # the lowest three bits of xyzt_units; 0 = not stated, 2 = mm
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # of metres and micrometres; programs write matrices in mm beside them
_AGREE = 1e-4  # voxels: two transforms in one header that differ by less are the same transform


def geometry(fields: np.void, layout: Layout, path: Path) -> Geometry:
    """Raises ImageFileError where the header places the voxels nowhere."""
    n = layout.dimensions
    _refuse_unbounded(fields, n, path)
    _refuse_two_sizes(fields, n, path)
    axes = _plain_axes(fields, n)
    if axes is None:
        return _as_itk_has_it(fields, layout, path)
    origin, direction = in_lps(axes[0][:n, :n], axes[1][:n], str(path))
    x, y, z = fields["pixdim"][1:4].tolist()
    return Geometry(
        shape=layout.shape,
        spacing=(z if n == 3 else SLICE_SPACING_2D * max(x, y), y, x),
        origin=origin,
        direction=direction,
    )


def _refuse_unbounded(fields: np.void, dimensions: int, path: Path) -> None:
    """NaN and infinity in what the header uses; ITK puts something else in their place."""
    used = [fields["pixdim"][1 : dimensions + 1]]
    if fields["sform"] > 0:
        used.append(fields["srow"].ravel())
    if fields["qform"] > 0:
        used += [fields["quaternion"], fields["qoffset"]]
    if not np.isfinite(np.concatenate(used)).all():
        raise ImageFileError(f"{path}: its header places the voxels at NaN or infinity; write the file again")


def _refuse_two_sizes(fields: np.void, dimensions: int, path: Path) -> None:
    """A lone matrix whose axes are not as long as voxels: ITK takes the sizes, nibabel and viewers take the matrix.

    With a quaternion beside it, sizes belong to that, and the matrix may lead to another space (nifti1.h, methods 2
    and 3).
    """
    if fields["sform"] <= 0 or fields["qform"] > 0:
        return
    by_matrix = np.linalg.norm(fields["srow"][:, :dimensions].astype(float), axis=0)
    stated = np.abs(fields["pixdim"][1 : dimensions + 1].astype(float))
    sizes = np.where(stated > 0, stated, 1.0)  # as ITK has it
    in_mm = _MILLIMETRES.get(int(fields["units"]) & _SPATIAL_UNITS, 1.0)
    if min(np.abs(by_matrix / (sizes * factor) - 1).max() for factor in (1.0, in_mm)) >= ROUNDING:
        one, other = (" x ".join(f"{length:.4g}" for length in lengths) for lengths in (stated, by_matrix))
        raise ImageFileError(
            f"{path}: its header contradicts itself about the grid: voxels are {one} by their sizes (pixdim), {other} "
            "by the transform (sform); write it again with those that are right"
        )


def _plain_axes(fields: np.void, dimensions: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Direction cosines (columns are the image axes) and origin, in NIfTI's world; None where the header is unclear."""
    spacing = fields["pixdim"][1:4].astype(float)
    if int(fields["units"]) & _SPATIAL_UNITS not in (0, 2) or not (spacing[:dimensions] > 0).all():
        return None
    spacing[~(spacing > 0)] = 1.0  # the third axis of a 2-D file
    if fields["sform"] > 0:
        matrix = fields["srow"][:, :3].astype(float)
        lengths = np.linalg.norm(matrix, axis=0)
        if np.abs(lengths - spacing).max() > _AGREE * spacing.min():
            return None
        direction, origin = matrix / lengths, fields["srow"][:, 3].astype(float)
        if fields["qform"] <= 0:
            return direction, origin
    if fields["qform"] <= 0:
        return None
    rotation, offset = _rotation(fields), fields["qoffset"].astype(float)
    if fields["sform"] > 0:
        apart = max(np.abs(rotation - direction).max(), np.abs((offset - origin) / spacing).max())
        if apart > _AGREE:
            return None
        return direction, origin  # the finer of the two: near half a turn a float32 quaternion is off by up to 1e-4
    return rotation, offset


def _rotation(fields: np.void) -> np.ndarray:
    """The rotation (3, 3) that the header's quaternion describes; a negative ``pixdim[0]`` mirrors the third axis."""
    b, c, d = fields["quaternion"].astype(float)
    square = 1.0 - b * b - c * c - d * d
    a = square**0.5 if square > 1e-7 else 0.0  # below that it is float32 noise of the others (as in ITK)
    a, b, c, d = np.array([a, b, c, d]) / np.linalg.norm([a, b, c, d])
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    if fields["pixdim"][0] < 0:
        rotation[:, 2] *= -1
    return rotation


def _as_itk_has_it(fields: np.void, layout: Layout, path: Path) -> Geometry:
    """ITK's word on a header of NIfTI-1 that says the same about the grid, and nothing else: it holds one voxel."""
    content = bytearray(NIFTI_1.itemsize + NO_EXTENSIONS + 1)
    plain: Any = np.frombuffer(content, NIFTI_1, 1)
    for name in ("pixdim", *GRID_FIELDS):
        plain[name][0] = fields[name]
    plain["size"], plain["magic"], plain["offset"] = NIFTI_1.itemsize, b"n+1", NIFTI_1.itemsize + NO_EXTENSIONS
    plain["dim"][0] = [layout.dimensions, *[1] * 7]
    plain["datatype"], plain["bits"] = 2, 8
    with tempfile.TemporaryDirectory() as folder:
        single = Path(folder) / "header.nii"
        single.write_bytes(content)
        try:
            return simpleitk.geometry_of_single_voxel(single, layout.shape, path)
        except RuntimeError:
            raise ImageFileError(
                f"{path}: its header contradicts itself about the grid (voxel sizes, qform, sform); write it again "
                "with the transform that is right"
            ) from None
