"""Seg-Grad-CAM (Selvaraju et al. 2017; of segmentations: Vinogradova et al. 2020, arXiv 2002.11434): feature maps that
speak for the label, summed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.scene import Scene


@dataclass(frozen=True)
class Spec:
    """Each map of one resolution is weighed by the mean gradient of the score; what remains negative is 0."""

    stage: int = -1
    """Which resolution of the network, from the finest, 0; from the end where negative: -1 is the coarsest."""

    def __post_init__(self) -> None:
        bounded(self, "stage", least=-20, most=20)

    @property
    def unit(self) -> str:
        """See ``explanation_contract.Explanation``."""
        return "weighed feature maps, 0 where none speaks for the label"

    def passes(self, scene: Scene) -> int:
        """See ``explanation_contract.Explanation``."""
        return 1

    def explain(self, scene: Scene, advance: Callable[[int], None]) -> Tensor:
        """See ``explanation_contract.Explanation``."""
        from ._hooks import class_activation

        found = class_activation(scene, self.stage)
        advance(1)
        return found
