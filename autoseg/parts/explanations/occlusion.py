"""Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901): how far the score falls where a block is hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING

from ...core.bounds import bounded

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.scene import Scene

AT_ONCE = 4  # patches


@dataclass(frozen=True)
class Spec:
    """Blocks lie side by side and are as long along every axis, in mm. What is hidden is 0 in all channels, about the
    mean of a normalised image."""

    blocks: int = 8
    """Along the patch's longest axis."""

    def __post_init__(self) -> None:
        bounded(self, "blocks", least=2, most=64)

    @property
    def unit(self) -> str:
        """See ``explanation_contract.Explanation``."""
        return "fall of the label's mean logit when the block is hidden"

    def passes(self, scene: Scene) -> int:
        """See ``explanation_contract.Explanation``."""
        return 1 + prod(map(len, self._cuts(scene)))

    def explain(self, scene: Scene, advance: Callable[[int], None]) -> Tensor:
        """See ``explanation_contract.Explanation``."""
        import torch

        places = [*product(*self._cuts(scene))]
        found = torch.zeros(scene.patch.shape[2:])
        with torch.inference_mode():
            whole = scene.score(scene.patch)
            advance(1)
            for first in range(0, len(places), AT_ONCE):
                some = places[first : first + AT_ONCE]
                hidden = scene.patch.repeat(len(some), *(1,) * (scene.patch.dim() - 1))
                for one, place in zip(hidden, some):
                    one[(slice(None),) + place] = 0
                for place, score in zip(some, (whole - scene.score(hidden)).tolist()):
                    found[place] = score
                advance(len(some))
        return found

    def _cuts(self, scene: Scene) -> list[list[slice]]:
        """Along each axis, where blocks lie."""
        shape = scene.patch.shape[2:]
        length = max(edge * step for edge, step in zip(shape, scene.spacing)) / self.blocks
        edges = [min(edge, max(1, round(length / step))) for edge, step in zip(shape, scene.spacing)]
        return [
            [slice(number * block, min((number + 1) * block, edge)) for number in range(ceil(edge / block))]
            for edge, block in zip(shape, edges)
        ]
