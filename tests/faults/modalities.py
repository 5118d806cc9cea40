"""Two tiny datasets with what several modalities bring, and the commands that work on them.

In the one channels are registered and corrected for their bias field, and some cases lack a channel. In the other
channels are chosen volumes of two files, masks overlap, and networks of one channel are combined by label.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from two_channels import GRID, SHAPE, moved, phantom, rigid, save

from autoseg.parts.readers import write_channels

GAPS, MASKS = "Dataset902_Gaps", "Dataset903_Masks"
CHANNELS = ("T1", "FLAIR")
CASES = 4
OF_EACH = "3d_fullres_T1", "3d_fullres_FLAIR"


def lay_modalities(raw: Path) -> None:
    """Both datasets as folders of ``raw``."""
    lay_gaps(raw / GAPS)
    lay_masks(raw / MASKS)


def lay_gaps(folder: Path) -> None:
    """FLAIR was taken after the head had moved; the last case and a case to be predicted lack it."""
    for number in range(CASES + 2):
        first, second, labels = phantom(number)
        part = "Tr" if number < CASES else "Ts"
        shifted = moved(GRID, *rigid((0.0, 0.05, 0.1), (5.0, -4.0, 3.0 + number)))
        save(first * _field(), GRID, folder / f"images{part}" / f"case_{number}_0000.nii.gz")
        if number not in (CASES - 1, CASES + 1):
            save(second, shifted, folder / f"images{part}" / f"case_{number}_0001.nii.gz")
        save(labels, GRID, folder / f"labels{part}" / f"case_{number}.nii.gz")
    _describe(folder, channel_names=_numbered(CHANNELS), labels={"background": 0, "left": 1, "right": 2})


def lay_masks(folder: Path) -> None:
    """File 0 is T1, file 1 a series of which the second volume is FLAIR; the ventricles lie in the body."""
    for number in range(CASES):
        first, second, labels = phantom(10 + number)
        save(first, GRID, folder / "imagesTr" / f"case_{number}_0000.nii.gz")
        write_channels(np.stack([first, second]), GRID, folder / "imagesTr" / f"case_{number}_0001.nii.gz")
        for name, mask in (("body", first > 0), ("ventricles", labels > 0)):
            save(mask.astype(np.uint8), GRID, folder / "labelsTr" / f"case_{number}_{name}.nii.gz")
    channels = {"0": {"name": "T1", "file": 0}, "1": {"name": "FLAIR", "file": 1, "volume": 1}}
    _describe(folder, channel_names=channels, masks=["body", "ventricles"])


def _field() -> np.ndarray:
    """A smooth field that makes one end brighter than the other."""
    return np.linspace(0.7, 1.3, SHAPE[1], dtype=np.float32)[None, :, None]


def _numbered(names: tuple[str, ...]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


def _describe(folder: Path, **fields: object) -> None:
    (folder / "dataset.json").write_text(json.dumps(fields | {"file_ending": ".nii.gz", "numTraining": CASES}))
