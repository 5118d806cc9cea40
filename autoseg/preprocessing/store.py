"""Prepared cases on disk: one folder per case, arrays chunked and compressed so that a patch is read alone.

<case>/
    image.b2nd      (channels, z, y, x) float16, or float32 where half precision would lose something
    labels.b2nd     (z, y, x) label indices
    foreground.npz  voxel positions per label index
    case.json       CaseRecord: the way back to the file's grid, and what the arrays were made from

Blosc2 with zstd level 1 and byte shuffle: of LZ4, LZ4HC and zstd it gave the smallest files at 1 ms per small case.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_folder
from ..core.geometry import Box, Geometry
from ..core.records import read_json, to_json
from ..errors import ImageFileError, RecordError, WorkspaceError
from .prepare import PreparedCase
from .spatial import SpatialRecord

LARGEST_HALF = 2048.0  # above it float16 no longer tells neighbouring integers apart
BLOCK_VOXELS = 1 << 14  # 32 KB of float16: one block stays in the first-level cache while it is unpacked
CHUNK_EDGE = 64  # where no patch size is known


@dataclass(frozen=True)
class CaseRecord:
    """What ``case.json`` says."""

    content: str
    """What the arrays were made from: equal means they need not be made again."""
    shape: tuple[int, int, int]
    channels: int
    geometry: Geometry
    """The file's grid."""
    record: SpatialRecord


@dataclass(frozen=True)
class StoredCase:
    """One prepared case; reading is safe from several threads at once."""

    folder: Path
    case: CaseRecord

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) on the network's grid."""
        return self.case.shape

    @property
    def channels(self) -> int:
        return self.case.channels

    @property
    def geometry(self) -> Geometry:
        """The file's grid."""
        return self.case.geometry

    @property
    def record(self) -> SpatialRecord:
        return self.case.record

    @cached_property
    def foreground(self) -> dict[int, np.ndarray]:
        """Label index to (n, 3) int32 voxel positions on the network's grid."""
        with np.load(self.folder / "foreground.npz", allow_pickle=False) as file:
            positions, indices, ends = file["positions"], file["indices"], file["ends"]
        return dict(zip(indices.tolist(), np.split(positions, ends[:-1])))

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Image (channels, *box) float16 or float32, and label indices (*box), of a box inside the case.

        Raises ImageFileError when a file is damaged.
        """
        image = _read(self.folder / "image.b2nd", (slice(0, self.channels), *box.slices))
        return image, _read(self.folder / "labels.b2nd", box.slices)

    def read_whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Image and label indices of the whole case."""
        return self.read(Box.whole(self.shape))


@dataclass(frozen=True)
class CaseStore:
    """The prepared cases of one configuration."""

    folder: Path
    patch_size: tuple[int, ...] = (CHUNK_EDGE,) * 3
    """What will be read at once (two entries: slices); shapes the chunks that are written, nothing else."""

    def keys(self) -> tuple[str, ...]:
        """Complete cases, sorted."""
        found = (path.parent.name for path in self.folder.glob("*/case.json"))
        return tuple(sorted(key for key in found if not key.startswith(".")))

    def content(self, key: str) -> str | None:
        """The content key the case was written with; None where there is no readable case."""
        try:
            return read_json(self.folder / key / "case.json", CaseRecord).content
        except RecordError:
            return None

    def open(self, key: str) -> StoredCase:
        """Raises WorkspaceError when the case was never prepared."""
        folder = self.folder / key
        if not (folder / "case.json").exists():
            raise WorkspaceError(f"case {key} is not prepared in {self.folder}; run `autoseg preprocess` again")
        return StoredCase(folder, read_json(folder / "case.json", CaseRecord))

    def write(self, key: str, prepared: PreparedCase, content_key: str) -> None:
        """Writes one case, all or nothing; replaces an older one of the same key."""
        assert prepared.labels is not None, "only labelled cases are stored"
        channels, *shape = prepared.image.shape
        case = CaseRecord(content_key, (shape[0], shape[1], shape[2]), channels, prepared.geometry, prepared.record)
        with atomic_folder(self.folder / key) as folder:
            _write(folder / "image.b2nd", _half(prepared.image), self.patch_size)
            _write(folder / "labels.b2nd", prepared.labels, self.patch_size)
            _write_foreground(folder / "foreground.npz", prepared.foreground)
            (folder / "case.json").write_text(json.dumps(to_json(case)), encoding="utf-8")


def chunks_and_blocks(shape: Sequence[int], patch_size: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk (unit of the file) and block (unit of reading) of an array ([channels,] z, y, x).

    A chunk is a patch of all channels; a block is a part of one channel that has at most ``BLOCK_VOXELS`` voxels.
    """
    patch = (1,) * (3 - len(patch_size)) + tuple(patch_size)
    edges = [min(size, edge) for size, edge in zip(shape[-3:], patch)]
    chunk = (*shape[:-3], *edges)
    while math.prod(edges) > BLOCK_VOXELS:
        largest = edges.index(max(edges))
        edges[largest] = (edges[largest] + 1) // 2
    return chunk, (*(1 for _ in shape[:-3]), *edges)


def _half(image: np.ndarray) -> np.ndarray:
    largest = max(-float(image.min()), float(image.max()))
    return image.astype(np.float16) if largest <= LARGEST_HALF else image


def _write(path: Path, array: np.ndarray, patch_size: tuple[int, ...]) -> None:
    import blosc2

    chunks, blocks = chunks_and_blocks(array.shape, patch_size)
    compression: dict[str, Any] = {
        "codec": blosc2.Codec.ZSTD,
        "clevel": 1,
        "filters": [blosc2.Filter.SHUFFLE],
        "filters_meta": [0],
        "typesize": array.itemsize,
        "nthreads": 1,  # cases are already spread over threads
    }
    blosc2.asarray(
        np.ascontiguousarray(array), chunks=chunks, blocks=blocks, cparams=compression, urlpath=str(path), mode="w"
    )


def _read(path: Path, slices: tuple[slice, ...]) -> np.ndarray:
    import blosc2

    try:
        # opened anew for every read (0.05 ms): an open array keeps one decompressor, which threads must not share
        array: np.ndarray = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})[slices]
    except (RuntimeError, OSError, ValueError) as error:
        raise ImageFileError(f"{path} is damaged ({error}); delete its folder and run `autoseg preprocess`") from None
    return array


def _write_foreground(path: Path, foreground: dict[int, np.ndarray]) -> None:
    positions = np.concatenate([np.empty((0, 3), np.int32), *foreground.values()])
    ends = np.cumsum([len(found) for found in foreground.values()], dtype=np.int64)
    np.savez(path, positions=positions, indices=np.array(list(foreground), np.int64), ends=ends)
