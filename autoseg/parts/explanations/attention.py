"""Attention maps: how much the network's own gates let through at each voxel (Oktay et al. 2018, arXiv 1804.03999)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.scene import Scene


@dataclass(frozen=True)
class Spec:
    """The mean over all gates that weigh voxels. It is the same for every label."""

    @property
    def unit(self) -> str:
        """See ``explanation_contract.Explanation``."""
        return "mean weight that the gates give a voxel, 0 to 1"

    def passes(self, scene: Scene) -> int:
        """See ``explanation_contract.Explanation``."""
        return 1

    def explain(self, scene: Scene, advance: Callable[[int], None]) -> Tensor:
        """See ``explanation_contract.Explanation``."""
        from ._hooks import gates

        found = gates(scene)
        advance(1)
        return found
