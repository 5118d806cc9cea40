"""Supervised learning: the configuration's loss on labelled patches, at every scale of the network's decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.samples import LABELLED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...core.inputs import InputSpec
    from ...core.labels import Labels
    from ...core.samples import ForwardPass, Samples, Supervision


@dataclass(frozen=True)
class Spec:
    """Nothing is to be set: the plan holds the loss and how much each scale weighs (``training.deep_supervision``)."""

    @property
    def streams(self) -> tuple[str, ...]:
        return (LABELLED,)

    def build(self, supervision: Supervision, labels: Labels, network: nn.Module, inputs: InputSpec) -> Supervised:
        """``supervision`` is the loss at all scales; the rest is not needed."""
        return Supervised(supervision)


@dataclass(frozen=True)
class Supervised:
    """The loss of the labelled patches. It keeps nothing from step to step."""

    supervision: Supervision

    def measure(self, forward: ForwardPass, samples: Mapping[str, Samples], progress: float) -> Any:
        """What the loss measures in each patch, at every scale."""
        labelled = samples[LABELLED]
        return self.supervision.measure(forward(labelled.network_input), labelled)

    def judge(self, measures: Any) -> Tensor:
        """The loss of the batch."""
        return self.supervision.judge(measures)

    def after_step(self, network: nn.Module) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Raises ValueError for the state of another objective."""
        if state_dict:
            raise ValueError("supervised learning keeps no state")
