"""Guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806): the gradient of the score that comes back through
active units only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.scene import Scene


@dataclass(frozen=True)
class Spec:
    """At each activation, whichever it is, only positive gradients of units whose input was positive go on.

    The map is the largest absolute gradient over the channels of the image. It shows fine detail, and depends on the
    weights less than one would think (Adebayo et al. 2018, arXiv 1810.03292): look at another map beside it.
    """

    @property
    def unit(self) -> str:
        """See ``explanation_contract.Explanation``."""
        return "change of the score per change of a voxel's normalised value"

    def passes(self, scene: Scene) -> int:
        """See ``explanation_contract.Explanation``."""
        return 1

    def explain(self, scene: Scene, advance: Callable[[int], None]) -> Tensor:
        """See ``explanation_contract.Explanation``."""
        from ._hooks import guided_gradient

        found = guided_gradient(scene)
        advance(1)
        return found
