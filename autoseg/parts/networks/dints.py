"""DiNTS: cells on all paths between neighbouring resolutions, block after block, 2-D or 3-D (He et al. 2021, arXiv
2103.15954). MONAI's cells; here is the network with all paths, not the search for the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ...core.names import short
from ._zoo import ZooSpec, refuse_small

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
STEP = 16
DEPTHS = 3  # resolutions: a half, a quarter and an eighth of the image's
OPERATIONS = {2: ("skip", "conv"), 3: ("skip", "conv", "conv_zy", "conv_zx", "conv_yx")}
"""What a cell may be, by dimensions: nothing, a kernel of three along all axes, or along two and then the third."""
WIDTHS = (8, 16, 32)


@dataclass(frozen=True)
class Spec(ZooSpec):
    """A block has a cell on each of the seven paths between the three resolutions."""

    width: int = 16
    """Feature maps at full resolution, before the image is halved; each resolution has twice those of the one before.
    The paper has 32."""
    cells: tuple[str, ...] = ("conv",) * 4
    """Of each block, what its cells are: ``skip``, ``conv``, and in 3-D ``conv_zy``, ``conv_zx``, ``conv_yx``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self, "width", least=1, most=1 << 10)
        if not 1 <= len(self.cells) <= 24:
            raise ValueError(f"cells: there must be 1 to 24 blocks, found {len(self.cells)}")
        if set(self.cells) - set(OPERATIONS[self.dimensions]):
            raise ValueError(
                f"cells must be some of {', '.join(OPERATIONS[self.dimensions])}, found {short(self.cells)}"
            )

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return (STEP,) * self.dimensions

    @property
    def features(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return tuple(self.width << stage for stage in range(DEPTHS + 1))

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``: whatever the cells are, four of a block change the resolution."""
        return 4 * len(self.cells)

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """Three widths. Raises ValueError for a patch that is too small."""
        refuse_small(patch_size, STEP // 2, "it halves the patch three times")
        return tuple(cls(len(patch_size), width) for width in WIDTHS)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale."""
        from ._dints import dints

        return dints(self, channels, heads)
