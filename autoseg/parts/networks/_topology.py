"""Patch to network: along which axes each stage halves, with which kernels, and what a patch must be a multiple of.

The rules are those of Isensee et al. 2021 as nnU-Net v2 2.8.1 applies them; all vectors have two or three entries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

CLOSE = 2.0  # axes whose spacings differ by less than this factor are treated alike
LONE_AXIS = 3  # an axis that would be halved alone must be this many times the smallest edge long


@dataclass(frozen=True)
class Topology:
    """One entry per stage, the finest first."""

    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    patch_size: tuple[int, ...]
    """The patch asked for, enlarged to a multiple of ``divisor``."""

    @property
    def stages(self) -> int:
        return len(self.strides)

    @property
    def is_possible(self) -> bool:
        """Whether a U-Net can be made of it, whose decoder needs something to come up from."""
        return self.stages > 1

    @property
    def why_divisor(self) -> str:
        return f"for {self.stages} stages"

    @cached_property
    def divisor(self) -> tuple[int, ...]:
        """Product of the strides along each axis."""
        return tuple(math.prod(stride) for stride in zip(*self.strides))


def find_topology(
    spacing: Sequence[float],
    patch_size: Sequence[float],
    smallest_edge: int,
    most_stages: int | None = None,
    *,
    pass_over: bool = False,
) -> Topology:
    """Halves axes while they are long and fine enough.

    ``patch_size`` in voxels, not necessarily whole; no axis gets shorter than ``smallest_edge``. An axis is halved
    together with the finest one once their spacings are close; from then on its kernel is 3, before that it is 1.
    The last stage always has kernel 3.

    A finest axis that stands alone and is too short to be halved alone ends the search; with ``pass_over`` the coarser
    axes go on without it.
    """
    dimensions = len(spacing)
    current, size = list(spacing), list(patch_size)
    kernel = [1] * dimensions
    strides, kernels = [(1,) * dimensions], []
    while most_stages is None or len(strides) < most_stages:
        halved = _axes_to_halve(current, size, smallest_edge, pass_over)
        if not halved:
            break
        kernel = [3 if k == 3 or s / min(current) < CLOSE else 1 for k, s in zip(kernel, current)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in range(dimensions)))
        for axis in halved:
            current[axis] *= 2
            size[axis] = math.ceil(size[axis] / 2)
    kernels.append((3,) * dimensions)
    topology = Topology(tuple(strides), tuple(kernels), ())
    padded = tuple(math.ceil(edge / multiple) * multiple for edge, multiple in zip(patch_size, topology.divisor))
    return Topology(topology.strides, topology.kernels, padded)


def _axes_to_halve(spacing: list[float], size: list[float], smallest_edge: int, pass_over: bool) -> list[int]:
    long_enough = [axis for axis in range(len(size)) if size[axis] >= 2 * smallest_edge]
    while long_enough:
        finest = min(spacing[axis] for axis in long_enough)
        close = [axis for axis in long_enough if spacing[axis] / finest < CLOSE]
        if len(close) > 1 or size[close[0]] >= LONE_AXIS * smallest_edge:
            return close
        if not pass_over:
            break
        long_enough.remove(close[0])
    return []
