"""The volume of every label of every case that was predicted, as one table."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..core.extent import Extent
from ..core.files import atomic_file
from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..data.label_maps import read_label_map
from ..errors import UsageError
from ..evaluation.counts import overlaps
from ..evaluation.scores import NUMBER
from .results import Results

TABLE = "volumes.csv"


def refuse_others_table(results: Results, existing: str) -> None:
    """Raises UsageError for a ``volumes.csv`` that `predict` did not write and is not to ``replace``."""
    path = results.folder / TABLE
    if existing != "replace" and os.path.lexists(path) and not results.is_own(path):
        raise UsageError(
            f"{path} is not what `autoseg predict` wrote there. Nothing was predicted. Give another -o; --overwrite "
            "replaces it"
        )


def write_volumes(results: Results, files: Mapping[str, Sequence[Path]], labels: Labels, workers: int) -> Path:
    """Writes ``volumes.csv``: a row per case and label with voxels and ml; no ml where pixels have an area only.

    ``files`` maps case to the label map, or the masks, that are there.
    """
    from pandas import DataFrame

    rows = ordered_map(partial(_rows, labels=labels), files.items(), workers)
    table = DataFrame([row for of_case in rows for row in of_case], columns=["case", "label", "voxels", "volume_ml"])
    path = results.folder / TABLE
    results.begin(path)
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format=NUMBER, encoding="utf-8", lineterminator="\r\n")
    results.end(path)
    return path


def _rows(case: tuple[str, Sequence[Path]], *, labels: Labels) -> list[tuple[str, str, int, float | None]]:
    key, files = case
    label_map, geometry = read_label_map(tuple(files), labels)
    indices = labels.encode(label_map)
    voxels = overlaps(indices, indices, labels)[:, 1].tolist()
    voxel_ml = Extent.of(geometry.shape, geometry.spacing).voxel_ml if geometry.dimensions == 3 else math.nan
    return [(key, name, count, count * voxel_ml) for name, count in zip(labels.foreground, voxels)]
