"""Supervised learning with a teacher, the moving average of the network (Tarvainen and Valpola 2017).

The network is to say of each patch what the teacher says of the same patch with noise on its image.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels, Labels
from autoseg.core.samples import LABELLED, ForwardPass, Samples, Supervision


@dataclass(frozen=True)
class Spec:
    """``supervised loss + weight * ramp * mean squared difference of probabilities``; the ramp is that of the paper."""

    decay: float = 0.9
    """Share that the teacher keeps of itself in every step."""
    weight: float = 1.0
    noise: float = 0.1
    """Standard deviation of what is added to the image that the teacher sees."""

    @property
    def streams(self) -> tuple[str, ...]:
        return (LABELLED,)

    def build(self, supervision: Supervision, labels: Labels, network: nn.Module, inputs: InputSpec) -> MeanTeacher:
        return MeanTeacher(self, supervision, labels, network)


class MeanTeacher(nn.Module):
    """Its state is the teacher."""

    def __init__(self, spec: Spec, supervision: Supervision, labels: Labels, network: nn.Module) -> None:
        super().__init__()
        self.spec, self.supervision = spec, supervision
        self.exclusive = isinstance(labels, ExclusiveLabels)
        self.teacher = copy.deepcopy(network).requires_grad_(False)

    def measure(self, forward: ForwardPass, samples: Mapping[str, Samples], progress: float) -> tuple[Any, Tensor]:
        labelled = samples[LABELLED]
        seen = labelled.network_input.clone()
        seen[:, : labelled.inputs.image.read] += self.spec.noise * torch.randn_like(labelled.image)
        with torch.no_grad():
            wanted = self._probabilities(forward(seen, self.teacher)[0])
        logits = forward(labelled.network_input)
        ramp = self.spec.weight * math.exp(-5.0 * (1.0 - progress) ** 2)
        difference = (self._probabilities(logits[0]) - wanted).square().flatten(1).mean(1)
        return self.supervision.measure(logits, labelled), ramp * difference

    def judge(self, measures: Any) -> Tensor:
        of_loss, differences = measures
        return self.supervision.judge(of_loss) + differences.mean()

    @torch.no_grad()
    def after_step(self, network: nn.Module) -> None:
        teacher, student = [*self.teacher.parameters()], [*network.parameters()]
        torch._foreach_lerp_(teacher, student, 1.0 - self.spec.decay)

    def _probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().softmax(1) if self.exclusive else logits.float().sigmoid()
