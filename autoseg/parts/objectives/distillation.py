"""Knowledge distillation from the full to the reduced input, for networks that are to do without some channels.

A network that sees all channels of a patch teaches itself what to say of the same patch with channels withheld (Hinton
et al. 2015; for missing MR sequences, for example, Hu et al. 2020). The teacher is the network itself as it is in this
step, without gradient, so nothing is kept; where nothing was withheld there is nothing to learn from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.bounds import bounded
from ...core.samples import COMPLETE, LABELLED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...core.inputs import InputSpec
    from ...core.labels import Labels
    from ...core.samples import ForwardPass, Samples, Supervision


@dataclass(frozen=True)
class Spec:
    """``loss(reduced) + weight * temperature**2 * KL(full || reduced)``, the mean over the voxels of the finest scale.

    Probabilities are softmax(logits / temperature); of regions sigmoid, and the divergence is the sum over regions. The
    square keeps the gradient as large as that of the loss, whatever the temperature.
    """

    weight: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        bounded(self, "weight", least=0)
        bounded(self, "temperature", above=0)

    @property
    def streams(self) -> tuple[str, ...]:
        return (LABELLED, COMPLETE)

    def build(self, supervision: Supervision, labels: Labels, network: nn.Module, inputs: InputSpec) -> Distillation:
        """``network`` is the teacher, too."""
        return Distillation(self, supervision, labels.exclusive, network)


@dataclass(frozen=True)
class Distillation:
    """It keeps nothing from step to step."""

    spec: Spec
    supervision: Supervision
    exclusive: bool
    network: nn.Module

    def measure(self, forward: ForwardPass, samples: Mapping[str, Samples], progress: float) -> tuple[Any, Tensor]:
        """What the loss measures, and the divergence (B,) of each patch."""
        import torch

        with torch.no_grad():
            taught = forward(samples[COMPLETE].network_input, self.network)[0]
        logits = forward(samples[LABELLED].network_input)
        return self.supervision.measure(logits, samples[LABELLED]), self.divergence(taught, logits[0])

    def divergence(self, taught: Tensor, logits: Tensor) -> Tensor:
        """temperature**2 * KL of each patch (B,), of logits (B, heads, *patch)."""
        from torch.nn.functional import logsigmoid

        full, reduced = taught.float() / self.spec.temperature, logits.float() / self.spec.temperature
        if self.exclusive:
            wanted, found = full.log_softmax(1), reduced.log_softmax(1)
            apart = (wanted.exp() * (wanted - found)).sum(1)
        else:
            inside = full.sigmoid() * (logsigmoid(full) - logsigmoid(reduced))
            apart = (inside + (-full).sigmoid() * (logsigmoid(-full) - logsigmoid(-reduced))).sum(1)
        return self.spec.temperature**2 * apart.flatten(1).mean(1)

    def judge(self, measures: Any) -> Tensor:
        """The loss of the batch."""
        of_loss, apart = measures
        return self.supervision.judge(of_loss) + self.spec.weight * apart.mean()

    def after_step(self, network: nn.Module) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Raises ValueError for the state of another objective."""
        if state_dict:
            raise ValueError("distillation keeps no state")
