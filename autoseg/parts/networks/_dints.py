"""The torch side of dints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor, nn

from ._monai import Headed, without
from .dints import DEPTHS, OPERATIONS

if TYPE_CHECKING:
    from .dints import Spec

PATHS = [(source, target) for target in range(DEPTHS) for source in range(DEPTHS) if abs(source - target) < 2]


def dints(spec: Spec, channels: int, heads: int) -> Headed:
    """See ``dints.Spec.build``."""
    from monai.networks.nets.dints import DiNTS

    lattice = Lattice(spec)
    entered = np.ones((lattice.num_blocks + 1, DEPTHS))  # every resolution sees the image, and is seen at the end
    network = DiNTS(lattice, channels, heads, spatial_dims=spec.dimensions, node_a=entered)
    return Headed(without(network, "stem_finals.1"), spec.dimensions, spec.width, heads)


class Lattice(nn.Module):
    """Blocks of cells on all paths, in place of MONAI's, which reads codes of paths from tensors with values."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        from monai.networks.nets.dints import Cell

        self.filter_nums = list(spec.features)
        self.num_blocks, self.num_depths = len(spec.cells), DEPTHS
        widths, chosen = spec.features[1:], OPERATIONS[spec.dimensions]
        self.cells = nn.ModuleList(
            nn.ModuleList(
                Cell(
                    widths[source],
                    widths[target],
                    source - target,
                    [name == cell for name in chosen],
                    spec.dimensions,
                )
                for source, target in PATHS
            )
            for cell in spec.cells
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of every resolution, finest first, to as many."""
        found, blocks = list(maps), cast(Any, self.cells)
        for block in blocks:
            reached: list[list[Tensor]] = [[] for _ in found]
            for (source, target), cell in zip(PATHS, block):
                reached[target].append(cell(found[source], None))
            found = [sum(several[1:], several[0]) for several in reached]
        return found
