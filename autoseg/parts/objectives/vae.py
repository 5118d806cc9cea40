"""Supervised learning, regularised by rebuilding the image (Myronenko, BraTS 2018, arXiv 1810.11654).

For the network ``segresnet_vae``, whose encoder then has to find what the image can be rebuilt of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.bounds import bounded
from ...core.samples import LABELLED
from ...errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...core.inputs import InputSpec
    from ...core.labels import Labels
    from ...core.samples import ForwardPass, Samples, Supervision


@dataclass(frozen=True)
class Spec:
    """``loss + reconstruction * mean((image - rebuilt)**2) + divergence * KL``, both the mean over the patches.

    ``KL = sum(mu**2 + sigma**2 - log(sigma**2) - 1) / voxels``, over the numbers that describe a patch; the weights are
    those of the paper.
    """

    reconstruction: float = 0.1
    divergence: float = 0.1

    def __post_init__(self) -> None:
        bounded(self, "reconstruction", "divergence", least=0, most=1e6)

    @property
    def streams(self) -> tuple[str, ...]:
        return (LABELLED,)

    def build(self, supervision: Supervision, labels: Labels, network: nn.Module, inputs: InputSpec) -> Regularised:
        """Raises UsageError for a network without an autoencoder."""
        rebuilding: Any = next((module for module in network.modules() if hasattr(module, "rebuilds")), None)
        if rebuilding is None:
            raise UsageError(
                "objective vae is for a network that rebuilds its image: plan with --network segresnet_vae"
            )
        rebuilding.rebuilds = True
        return Regularised(self, supervision, rebuilding)


@dataclass(frozen=True)
class Regularised:
    """It keeps nothing from step to step."""

    spec: Spec
    supervision: Supervision
    network: Any
    """What leaves in ``rebuilt`` what a call has rebuilt."""

    def measure(self, forward: ForwardPass, samples: Mapping[str, Samples], progress: float) -> tuple[Any, Tensor]:
        """What the loss measures, and error and divergence (B, 2) of each patch."""
        labelled = samples[LABELLED]
        logits = forward(labelled.network_input)
        rebuilt, self.network.rebuilt = self.network.rebuilt, None
        return self.supervision.measure(logits, labelled), rebuilt

    def judge(self, measures: Any) -> Tensor:
        """The loss of the batch."""
        of_loss, rebuilt = measures
        error, divergence = rebuilt.mean(0)
        loss: Tensor = self.supervision.judge(of_loss)
        return loss + self.spec.reconstruction * error + self.spec.divergence * divergence

    def after_step(self, network: nn.Module) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Raises ValueError for the state of another objective."""
        if state_dict:
            raise ValueError("rebuilding the image keeps no state")
