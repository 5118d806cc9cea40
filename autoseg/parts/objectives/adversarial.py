"""Adversarial training: segmentations that a second network cannot tell from true ones (Luc et al. 2016).

This discriminator sees image and segmentation and judges place by place (Isola et al. 2017); a mean over all its places
is what the network is taught by. Both learn in the same step, the discriminator by an optimizer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ...core.samples import LABELLED

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec
    from ...core.labels import Labels
    from ...core.samples import BuiltObjective, Supervision


@dataclass(frozen=True)
class Spec:
    """``loss + weight * mean(-ln D(image, predicted))``, while the discriminator D learns to make
    ``mean(-ln D(image, truth) - ln(1 - D(image, predicted)))`` small.

    ``predicted`` are probabilities at the finest scale. Ignored voxels are 0 in both segmentations.
    """

    weight: float = 0.01
    """As Hung et al. 2018."""
    features: tuple[int, ...] = (16, 32, 64)
    """Of the discriminator's layers. Each halves the patch along every axis."""
    learning_rate: float = 1e-4
    """Of the discriminator; as Hung et al. 2018."""

    def __post_init__(self) -> None:
        bounded(self, "weight", least=0, most=1e6)
        bounded(self, "learning_rate", above=0, most=1)
        bounded(self, "features", least=1, most=1024)
        if not 1 <= len(self.features) <= 6:
            raise ValueError(f"features must be 1 to 6 numbers, found {len(self.features)}")

    @property
    def streams(self) -> tuple[str, ...]:
        return (LABELLED,)

    def build(self, supervision: Supervision, labels: Labels, network: nn.Module, inputs: InputSpec) -> BuiltObjective:
        """The discriminator is made for the image of ``inputs`` and lies where ``network`` lies."""
        from ._adversarial import Adversarial

        return Adversarial(self, supervision, labels, network, inputs)
