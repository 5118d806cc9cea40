"""The slices of a volume that patches are being added to: as many as a patch is thick, whatever the volume's height.

Values are (z, y, x, heads), or feature maps instead of heads. They come last because that is how networks compute on a
processor, because rows of a patch are then contiguous, and because a voxel is decided from values side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.machine import available_on_gpu
from ..core.scratch import Scratch
from .tiles import Tile

CHUNK_BYTES = 1 << 26  # of a patch, added at a time: what a copy in another type or orientation may take


@dataclass(frozen=True)
class Space:
    """Where sums of logits may lie."""

    room: int | None = None
    """Bytes of main memory; None: as many as they take."""
    folder: Path | None = None
    """For what exceeds that; None: the system's folder for temporary files."""

    def split(self, share: float) -> tuple[Space, Space]:
        """For two kinds of sums: this share of the main memory, and the rest of it."""
        if self.room is None:
            return self, self
        first = round(share * self.room)
        return Space(first, self.folder), Space(self.room - first, self.folder)


class _Block:
    """Consecutive slices, allocated together and dropped together."""

    def __init__(
        self, start: int, stop: int, plane: tuple[int, int, int], device: torch.device, scratch: Scratch | None
    ) -> None:
        self.start, self.stop = start, stop
        self.scratch = scratch
        shape = (stop - start, *plane)
        self.values = torch.from_numpy(scratch.array) if scratch else torch.zeros(shape, device=device)

    def release(self) -> None:
        if self.scratch:
            self.scratch.release()


class Accumulator:
    """Sums of weighted patches, added front to back and taken front to back."""

    def __init__(
        self,
        plane: tuple[int, int, int],
        cuts: Sequence[int],
        height: int,
        device: torch.device,
        space: Space,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        """``plane`` is (y, x, values); ``cuts`` are the slices at which patches start and end, ``height`` how many
        slices exist at a time. ``chunk_bytes`` of a patch are added at a time.

        Sums live on a GPU where they take at most half of what is left of it, else in main memory, else in a file.
        """
        needed = 4 * height * math.prod(plane)
        if device.type == "cuda" and needed > available_on_gpu(device) // 2:
            device = torch.device("cpu")
        self._plane, self._device = plane, device if device.type == "cuda" else torch.device("cpu")
        self._folder, self._chunk_bytes = space.folder, chunk_bytes
        self._mapped = self._device.type == "cpu" and space.room is not None and needed > space.room
        self._edges = list(pairwise(sorted(set(cuts))))
        self._blocks: dict[int, _Block] = {}

    def add(
        self,
        tile: Tile,
        part: Tensor,
        flips: Sequence[int] = (),
        share: float = 1.0,
        values: slice = slice(None),
        summand: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Adds ``share`` of ``part`` (z, y, x, values), mirrored along ``flips`` and weighted, at the tile's place.

        ``summand`` makes of some of its slices what is added instead of them.
        """
        first, depth = tile.box.start[0], len(part)
        slice_bytes = 4 * part[0].numel() if summand is None else 4 * part[0, ..., 0].numel() * self._plane[-1]
        _, rows, columns = tile.box.slices
        z, y, x = (torch.from_numpy(weights).to(self._device) for weights in tile.weights)
        plane = share * (y[:, None] * x)
        for start, stop in self._pieces(first, first + depth, slice_bytes):
            a, b = start - first, stop - first
            piece = part[depth - b : depth - a].flip(tuple(flips)) if 0 in flips else part[a:b]
            if flips and 0 not in flips:
                piece = piece.flip(tuple(flips))
            if summand is not None:
                piece = summand(piece)
            block = self._block(start)
            target = block.values[start - block.start : stop - block.start, rows, columns, values]
            weight = (z[a:b, None, None] * plane).unsqueeze(-1)
            target.addcmul_(piece.to(self._device, torch.float32), weight)
            block.release()

    def take(self, start: int, stop: int) -> Tensor:
        """The slices from ``start`` to ``stop``; those before ``start`` are forgotten."""
        parts = list(self.parts(start, stop))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def parts(self, start: int, stop: int, slices: int | None = None) -> Iterator[Tensor]:
        """The same in parts, of at most so many slices."""
        self._forget(start)
        for a, b in self._pieces(start, stop, slices=slices):
            block = self._block(a)
            values = block.values[a - block.start : b - block.start]
            yield values.clone() if block.scratch else values
            block.release()

    def _pieces(
        self, start: int, stop: int, slice_bytes: int = 0, slices: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """The range without crossing a cut, in pieces of at most so many bytes or slices."""
        step = max(1, self._chunk_bytes // slice_bytes) if slice_bytes else slices or stop - start
        for low, high in self._edges:
            end = min(high, stop)
            for piece in range(max(low, start), end, step):
                yield piece, min(piece + step, end)

    def _block(self, z: int) -> _Block:
        low, high = next(edges for edges in self._edges if edges[0] <= z < edges[1])
        if low not in self._blocks:
            scratch = Scratch((high - low, *self._plane), np.float32, self._folder) if self._mapped else None
            self._blocks[low] = _Block(low, high, self._plane, self._device, scratch)
        return self._blocks[low]

    def _forget(self, before: int) -> None:
        for low, block in list(self._blocks.items()):
            if block.stop <= before:
                del self._blocks[low]
            elif block.scratch is None and before - block.start > (block.stop - block.start) // 2:
                # Interpolation still needs its last slices: they alone are kept, before a new block comes beside them.
                block.values = block.values[before - block.start :].clone()
                block.start = before
