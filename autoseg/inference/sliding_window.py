"""Logits of a whole image from networks that see one patch at a time.

They are computed as they are read, front to back: reading slices runs the networks on the patches that touch them, and
what lies before the slices read last is forgotten. So the logits that exist at any time are as many slices as a patch
is thick, whatever the height of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import cycle, product, takewhile
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from torch import Tensor, nn

from ..core.clock import Clock
from ..core.labels import Labels
from ..core.machine import give_back_unused
from ..core.mishaps import out_of_memory
from ..errors import ModelError, NotFiniteError
from ..settings import Resolved
from .accumulator import CHUNK_BYTES, Accumulator, Space
from .entropy import sums_per_voxel
from .fold_pairs import WindowPairs
from .mc_dropout import DropoutSamples, MeanOfSamples, Thinned
from .members import SUMMED_BYTES, Members
from .mirroring import mirrorings
from .options import STEP
from .readout import Readout
from .tiles import Shape, Tile, tiles

PATCHES_ON_PROCESSOR = 2  # keep torch from its slow convolution for single inputs; more fall out of the caches
LARGE = 1 << 20  # voxels of a patch from which on, in float32, a second one saves less than a twentieth of the time
OUTPUT_BYTES = 1 << 29  # logits of a batch there
ANYWHERE = Space()
BATCH_BYTES = 1 << 31  # of the patches that a GPU sees at a time, whatever a plan says
KNOWN_BYTES = 1 << 28  # logits of a uniform patch are kept if they take no more


def patches_at_once(voxels: int, values: int, run: Resolved) -> int:
    """How many patches of so many voxels the network sees at a time on a processor, where ``values`` per voxel are
    summed."""
    wanted = 1 if run.dtype is None and voxels >= LARGE else PATCHES_ON_PROCESSOR
    return max(1, min(wanted, OUTPUT_BYTES // (4 * values * voxels)))


class SlidingWindow:
    """Logits that are computed as they are read (see ``resampled.Logits``)."""

    def __init__(
        self,
        networks: Sequence[nn.Module],
        image: np.ndarray,
        patch_size: Sequence[int],
        *,
        heads: int,
        batch_size: int,
        mirror_axes: Sequence[int],
        run: Resolved,
        step: float = STEP,
        slices: int = 1,
        space: Space = ANYWHERE,
        whole: bool = False,
        clock: Clock | None = None,
        members_of: Labels | None = None,
        pairs: WindowPairs | None = None,
        samples: DropoutSamples | None = None,
    ) -> None:
        """``image`` is (channels, z, y, x) float32; ``patch_size`` has two entries for networks that see slices,
        each with its neighbours to make ``slices`` per channel; the border slices come again beyond the image.

        Networks see ``batch_size`` patches at a time on a GPU. ``whole`` allows to read all slices at once, or several
        times. ``members_of`` are labels of which it is asked how far the networks, on mirror images and in patches that
        overlap, disagree; ``pairs`` counts where they decide alike. With ``samples`` of its dropout, a network says
        their mean probability, and each is a member.
        """
        self.heads = heads
        self._flat = len(patch_size) == 2
        patch: Shape = (1, *patch_size) if self._flat else tuple(patch_size)  # type: ignore[assignment]
        self.shape: Shape = image.shape[1:]
        self._networks, self._run, self._clock = networks, run, clock or Clock()
        self._samples = samples
        self.readout = None if whole or samples else Readout.of(networks, heads)
        self._places = self.readout.maps if self.readout else [slice(0, heads)] * len(networks)
        self._share = 1 / (1 if self.readout else len(networks))
        self._values = self._places[-1].stop
        padded, (_, *self._inner) = pad_nd_image(np.ascontiguousarray(image, np.float32), patch, return_slicer=True)
        self._image = _with_neighbours(padded, slices) if self._flat else torch.from_numpy(padded)
        self._height, *self._plane = padded.shape[1:]
        self._flips = mirrorings([axis - self._flat for axis in mirror_axes if axis >= self._flat])
        voxels = int(np.prod(patch))
        seen = max(1, min(batch_size, BATCH_BYTES // (4 * image.shape[0] * slices * voxels)))
        self._batch = patches_at_once(voxels, self._values, run) if run.device.type == "cpu" else seen
        self._tiles, self._next = tiles(padded.shape[1:], patch, step), 0
        self._clock.patches_wanted += len(self._tiles)
        self._known: dict[bytes, Tensor] = {}
        self._keeps_known = 4 * self._values * voxels <= KNOWN_BYTES
        self._members: Members | None = None
        if members_of is not None:
            sums = sums_per_voxel(members_of)
            space, beside = space.split(self._values / (self._values + sums))
            layers = [_last_layer(each, self.readout) for each in networks]
            self._members = Members(self._sums_of(sums, patch, whole, beside, SUMMED_BYTES), members_of, layers)
        self._window = self._sums_of(self._values, patch, whole, space, CHUNK_BYTES)
        self._pairs = pairs
        self._logits_of = [_last_layer(each, self.readout) for each in networks] if pairs else []

    def _sums_of(self, values: int, patch: Shape, whole: bool, space: Space, chunk_bytes: int) -> Accumulator:
        edges = [edge for tile in self._tiles for edge in (tile.box.start[0], tile.box.stop[0])]
        height, cuts = (self._height, [0, self._height]) if whole else (patch[0], edges)
        y, x = self._plane
        return Accumulator((y, x, values), cuts, height, self._run.device, space, chunk_bytes)

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop`` as (z, y, x, values). ``start`` never decreases from call to call.

        Raises NotFiniteError when a network computed infinity or NaN.
        """
        depth, rows, columns = self._inner
        front = int(depth.start)
        while self._next < len(self._tiles) and self._tiles[self._next].box.start[0] < stop + front:
            with self._clock.stage("network"):
                before = self._next
                self._advance()
                self._clock.patches += self._next - before
        with self._clock.stage("network"):
            values = self._window.take(start + front, stop + front)[:, rows, columns]
            if not torch.isfinite(values.sum()):
                raise NotFiniteError(
                    "the network computed values that are not finite; predict again with --precision float32"
                )
        return values

    @property
    def disagreement(self) -> Callable[[int, int], Tensor] | None:
        """Bits (z, y, x) of slices that were read last; None where it was not asked for."""
        return None if self._members is None else self._disagreement

    def _disagreement(self, start: int, stop: int) -> Tensor:
        assert self._members is not None
        depth, rows, columns = self._inner
        front = int(depth.start)
        with self._clock.stage("network"):
            return self._members.disagreement(start + front, stop + front)[:, rows, columns]

    def all(self) -> Tensor:
        """(heads, z, y, x); of a sweep that was made ``whole``."""
        return self.read(0, self.shape[0]).movedim(-1, 0)

    def _advance(self) -> None:
        """Adds the next few patches; those of one batch start at the same slice, unless patches are slices."""
        tile = self._tiles[self._next]
        if self._is_uniform(tile):
            self._window.add(tile, self._uniform(tile))
            self._add_uniform_members(tile)
            self._next += 1
            return
        count = max(1, self._batch // len(self._flips))
        together = self._tiles[self._next : self._next + count]
        if not self._flat:
            together = [other for other in together if other.box.start[0] == tile.box.start[0]]
        group = list(takewhile(lambda other: not self._is_uniform(other), together))
        share = self._share / len(self._flips)
        jobs = list(product(group, self._flips))
        for some in np.array_split(np.arange(len(jobs)), -(-len(jobs) // self._batch)):
            batch = [jobs[index] for index in some]
            patches = torch.stack([self._patch(tile).flip(_spatial(flips)) for tile, flips in batch])
            decisions: list[list[Tensor]] = [[] for _ in batch]
            for number, place in enumerate(self._places):
                said = self._said(number, patches, batch)
                for (tile, flips), values, decided in zip(batch, said, decisions):
                    self._window.add(tile, values, self._turned(flips), share, place)
                    if self._pairs is not None and not flips:
                        decided.append(self._pairs.decided(values, self._logits_of[number]))
            for (tile, _), decided in zip(batch, decisions):
                if self._pairs is not None and decided:
                    self._pairs.add(tile, decided)
        self._next += len(group)

    def _turned(self, flips: Sequence[int]) -> tuple[int, ...]:
        """Axes of a patch as axes of (z, y, x)."""
        return tuple(axis + self._flat for axis in flips)

    def _said(self, number: int, patches: Tensor, jobs: Sequence[tuple[Tile, Sequence[int]]] = ()) -> list[Tensor]:
        """What the network with this number says about each patch, see ``_computed``: of samples their mean.

        Each of them is a member where ``jobs`` say where the patches lie, and along which axes they are mirrored; one
        patch may stand for several that are alike.
        """
        if self._samples is None:
            values = self._computed(self._networks[number], patches)
            self._add_members(number, values, jobs)
            return values
        mean = MeanOfSamples(self._samples)
        for seed in self._samples.seeds[number]:
            values = self._computed(self._networks[number], patches, seed)
            self._add_members(number, values, jobs)
            mean.add(values)
        return mean.logits()

    def _add_members(self, number: int, values: Sequence[Tensor], jobs: Sequence[tuple[Tile, Sequence[int]]]) -> None:
        if self._members is not None:
            share = 1 / (len(self._networks) * len(self._flips) * (self._samples.count if self._samples else 1))
            for (tile, flips), each in zip(jobs, cycle(values)):
                self._members.add(number, tile, each, self._turned(flips), share)

    def _add_uniform_members(self, tile: Tile) -> None:
        """Computed anew for each such patch: to keep them would take memory for every network."""
        if self._members is not None:
            for number in range(len(self._networks)):
                self._said(number, self._patch(tile)[None], [(tile, flips) for flips in self._flips])

    def _patch(self, tile: Tile) -> Tensor:
        """(channels, z, y, x), or (channels * slices, y, x)."""
        patch = self._image[(slice(None),) + tile.box.slices]
        return patch.squeeze(1).movedim(-1, 1).flatten(0, 1) if self._flat else patch

    def _computed(self, network: Any, patches: Tensor, seed: int | None = None) -> list[Tensor]:
        """Per patch its finest logits as (z, y, x, heads), or maps if they are read out later.

        Fewer patches at a time where memory does not suffice. ``seed`` is that of a sample of the network's dropout.
        """
        finest = self._tried(network, patches, seed)
        if finest is None:
            give_back_unused(self._run.device)
            if len(patches) == 1:
                raise MemoryError(f"there is not enough memory for a patch of {tuple(patches.shape[2:])} voxels")
            halves = patches.tensor_split(2)
            self._batch = min(self._batch, len(halves[0]))  # from now on
            return [values for half in halves for values in self._computed(network, half, seed)]
        if finest.shape[2:] != patches.shape[2:] or (not self.readout and finest.shape[1] != self.heads):
            found, wanted = tuple(finest.shape[1:]), (self.heads, *patches.shape[2:])
            raise ModelError(f"the network gives logits of shape {found} for a patch, {wanted} are wanted")
        return list((finest.unsqueeze(2) if self._flat else finest).movedim(1, -1))

    def _tried(self, network: Any, patches: Tensor, seed: int | None) -> Tensor | None:
        """What the network says; None where memory does not suffice, once all that it had computed until then is gone:
        while an error is handled, it keeps that alive."""
        run, sampling = self._run, nullcontext() if seed is None else Thinned(seed)
        autocast = torch.autocast(run.device.type, run.dtype, enabled=run.dtype is not None)
        try:
            with torch.inference_mode(), autocast, sampling:
                there = patches.to(run.device)
                return network.maps(there) if self.readout else network(there)[0]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        return None

    def _is_uniform(self, tile: Tile) -> bool:
        """Whether all voxels of the patch are alike, as in the air around a patient."""
        voxels = self._patch(tile).flatten(1)
        first = voxels[:, :1]
        return self._keeps_known and torch.equal(voxels[:, -1:], first) and bool((voxels == first).all())

    def _uniform(self, tile: Tile) -> Tensor:
        """The mean values of a uniform patch, computed once per value: equal inputs have equal outputs."""
        patch = self._patch(tile)
        key = patch.flatten(1)[:, 0].numpy().tobytes()
        if key not in self._known:
            totals: list[Tensor] = []
            for number in range(len(self._networks)):
                values = self._said(number, patch[None])[0].float()
                turned = [values.flip(self._turned(flips)) for flips in self._flips]
                totals.append(torch.stack(turned).sum(0))
            total = torch.cat(totals, -1) if self.readout else torch.stack(totals).sum(0)
            self._known[key] = total * (self._share / len(self._flips))
        return self._known[key]


def _with_neighbours(image: np.ndarray, slices: int) -> Tensor:
    """A view (channels, z, y, x, slices) of ``image``: at each z the slices around it, beyond the border the border."""
    reach = slices // 2
    padded = np.pad(image, ((0, 0), (reach, reach), (0, 0), (0, 0)), mode="edge") if reach else image
    return torch.from_numpy(padded).unfold(1, slices, 1)


def _last_layer(network: Any, readout: Readout | None) -> Callable[[Tensor], Tensor]:
    """What makes logits of what one network gives."""
    return (lambda logits: logits) if readout is None else Readout([network.last])


def _spatial(flips: Sequence[int]) -> tuple[int, ...]:
    """Axes of a patch as axes of (channels, *patch)."""
    return tuple(axis + 1 for axis in flips)
