"""Writes DICOM series for tests: a volume cut into slices, one file each, as GDCM writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk


def positions(rotation: np.ndarray, count: int, step: float) -> np.ndarray:
    """First pixels of ``count`` slices along the normal of ``rotation`` (columns: row, column, normal)."""
    return np.array([10.0, -20.0, 30.0]) + np.outer(np.arange(count) * step, rotation[:, 2])


def write_slice(path: Path, pixels: np.ndarray, position: Any, axes: np.ndarray, **tags: str) -> None:
    """A DICOM file as GDCM writes it; ``axes`` has the row, column and normal directions as columns."""
    image = sitk.GetImageFromArray(pixels[None].astype(np.int16))
    image.SetSpacing((0.5, 0.75, 1.0))
    described = {
        "0020|000d": "1.2.3", "0020|000e": "1.2.3.4", "0008|0060": "MR", "0008|103e": "T1", "0010|0020": "patient",
        "0020|0032": "\\".join(f"{value:.6f}" for value in position),
        "0020|0037": "\\".join(f"{value:.8f}" for value in axes[:, :2].T.ravel()),
    }  # fmt: skip
    for tag, value in (described | {name.replace("_", "|").lstrip("t"): value for name, value in tags.items()}).items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.Execute(image)


def write_series(folder: Path, voxels: np.ndarray, axes: np.ndarray, step: float = 2.0, **tags: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (pixels, place) in enumerate(zip(voxels, positions(axes, len(voxels), step))):
        paths.append(
            folder / f"{tags.get('t0020_000e', 'x')}_{(number * 7) % 50:02d}.dcm"
        )  # not in the order of places
        write_slice(paths[-1], pixels, place, axes, **tags)
    return paths
