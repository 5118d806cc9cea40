"""Self-attention: where the explained voxels look in the transformer of a network (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.scene import Scene


@dataclass(frozen=True)
class Spec:
    """The mean over layers, heads and explained voxels of the weights by which tokens see each other; of ``primus`` and
    ``transunet``. Weights tell where values come from, not what they do (Jain and Wallace 2019, arXiv 1902.10186)."""

    @property
    def unit(self) -> str:
        """See ``explanation_contract.Explanation``."""
        return "weight by which the explained voxels see a place; 1: as any other"

    def passes(self, scene: Scene) -> int:
        """See ``explanation_contract.Explanation``."""
        return 1

    def explain(self, scene: Scene, advance: Callable[[int], None]) -> Tensor:
        """See ``explanation_contract.Explanation``."""
        from ._tokens import seen_by_region

        found = seen_by_region(scene)
        advance(1)
        return found
