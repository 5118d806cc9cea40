"""The adversarial objective during a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import pad, softplus

from ...core.inputs import InputSpec
from ...core.labels import Labels
from ...core.samples import LABELLED, ForwardPass, Samples, Supervision
from ._discriminator import Discriminator, adam

if TYPE_CHECKING:
    from .adversarial import Spec


class Adversarial:
    """Mutable: the discriminator, its optimizer, and what its gradients were multiplied by."""

    def __init__(
        self, spec: Spec, supervision: Supervision, labels: Labels, network: nn.Module, inputs: InputSpec
    ) -> None:
        first = next(network.parameters())
        dimensions = max(weight.dim() for weight in network.parameters()) - 2
        self.spec, self.supervision, self.labels = spec, supervision, labels
        self.table = pad(torch.from_numpy(labels.index_table), (0, 0 if labels.ignore_index is None else 1))
        self.table = self.table.to(first.device)
        made = Discriminator(inputs.image.read + labels.heads, spec.features, dimensions)
        self.discriminator = made if next(made.parameters()).device == first.device else made.to(first.device)
        self.weights = [*made.parameters()]
        self.optimizer = adam(self.weights, spec.learning_rate)
        self.scale: Tensor | None = None

    def measure(self, forward: ForwardPass, samples: Mapping[str, Samples], progress: float) -> tuple[Any, Tensor]:
        """What the loss measures, and of each patch (B, 2) how little the discriminator is fooled, and its own loss."""
        labelled = samples[LABELLED]
        logits = forward(labelled.network_input)
        predicted, truth = self._segmentations(logits[0], labelled.targets)

        def judged(segmentation: Tensor) -> Tensor:
            return forward(torch.cat((labelled.image, segmentation), 1), self.discriminator)[0].float().flatten(1)

        self.discriminator.requires_grad_(False)
        fooling = softplus(-judged(predicted)).mean(1)
        self.discriminator.requires_grad_(True)
        telling = softplus(-judged(truth)).mean(1) + softplus(judged(predicted.detach())).mean(1)
        return self.supervision.measure(logits, labelled), torch.stack((fooling, telling), 1)

    def judge(self, measures: Any) -> Tensor:
        """The loss of the batch for both networks; the discriminator's has no part in its value."""
        of_loss, adversarial = measures
        self.optimizer.zero_grad(set_to_none=True)  # of a step that was skipped, or tried with too little memory
        fooling, telling = adversarial.mean(0).unbind()
        if telling.requires_grad:
            telling.register_hook(self._note_scale)
        loss = self.supervision.judge(of_loss) + self.spec.weight * fooling
        return loss + (telling - telling.detach())

    def after_step(self, network: nn.Module) -> None:
        """The discriminator's own step, by the gradient of the whole batch."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        if self.scale is None or not gradients:
            return
        for gradient in gradients:
            if distributed.is_available() and distributed.is_initialized():
                distributed.all_reduce(gradient)
            gradient /= self.scale
        if torch.stack([gradient.isfinite().all() for gradient in gradients]).all():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """The discriminator and its optimizer."""
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Raises RuntimeError, ValueError or KeyError for the state of another objective."""
        self.discriminator.load_state_dict(state_dict["discriminator"])
        self.optimizer.load_state_dict(state_dict["optimizer"])
        for weight in self.weights:
            moments = [self.optimizer.state[weight][name] for name in ("exp_avg", "exp_avg_sq")]
            if any(moment.shape != weight.shape for moment in moments):
                raise ValueError("the discriminator's optimizer is that of another")

    def _note_scale(self, gradient: Tensor) -> None:
        """A scaler of float16, and the mean over processes, multiply all gradients by the same."""
        self.scale = gradient.detach()

    def _segmentations(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted and true, (B, heads, *patch) float32."""
        predicted = self.labels.probabilities(logits.float(), 1)
        truth = self.table[:, targets.long()].movedim(0, 1).float()
        if self.labels.ignore_index is not None:
            predicted = torch.where((targets != self.labels.ignore_index).unsqueeze(1), predicted, 0.0)
        return predicted, truth
