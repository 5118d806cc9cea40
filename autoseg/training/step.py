"""One optimisation step on one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from ..plan import Configuration, Plan
from ..settings import Resolved
from .arithmetic import Forward, autocast
from .batches import Batch, network_input
from .deep_supervision import Loss, deep_supervision
from .draws import Draws
from .state import TrainingState
from .team import ALONE, Team


@dataclass(frozen=True)
class Inputs:
    """An augmented batch, or a process's share of it, on the device."""

    images: Tensor
    """(B, channels, *patch) float32, all that the network sees."""
    targets: Tensor
    """(B, *patch) label indices."""
    keys: tuple[str, ...]
    """The case of each patch."""
    seed: int
    """Of what is random in the network, dropout for example: so it resumes as it would have gone on."""


@dataclass(frozen=True)
class Step:
    """Augment, forward, backward, clip, update."""

    configuration: Configuration
    loss: Loss
    draws: Draws
    """What is random about an iteration's batch."""
    resolved: Resolved
    forward: Forward
    """The network, or what stands for it."""
    team: Team = ALONE

    @classmethod
    def of(
        cls,
        plan: Plan,
        configuration: Configuration,
        resolved: Resolved,
        seed: int,
        forward: Forward,
        team: Team = ALONE,
    ) -> Step:
        """The step that a plan's configuration prescribes."""
        draws = Draws.of(plan, configuration, seed, team)
        return cls(configuration, configuration.loss.build(plan.labels), draws, resolved, forward, team)

    def __call__(
        self, state: TrainingState, inputs: Inputs, factor: float, meanwhile: Callable[[], None] | None = None
    ) -> float | None:
        """The loss; ``factor`` scales the learning rate. None: loss or gradient was not finite, nothing was changed.

        The loss is that of all processes' inputs. ``meanwhile`` is called once a GPU has enough to do for a while.
        """
        torch.manual_seed(inputs.seed)
        state.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_of(inputs.images, inputs.targets)
        state.scaler.scale(loss * self.team.size).backward()  # of the processes' gradients the mean is taken
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), self.configuration.training.gradient_clip)
        if meanwhile is not None:
            meanwhile()
        value = loss.item()
        # In float16 now and then a gradient overflows: the scaler then skips the step itself and lowers its scale.
        overflow = state.scaler.is_enabled() and state.scaler.get_scale() > 1.0
        if not isfinite(value) or (not isfinite(norm.item()) and not overflow):
            state.scaler.update()
            return None
        for group in state.optimizer.param_groups:
            group["lr"] = self.configuration.optimizer.learning_rate * factor
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            state.average.update_parameters(state.network)
        return value

    def loss_of(self, images: Tensor, targets: Tensor) -> Tensor:
        """Of what the network sees and should say."""
        size = self.configuration.batch_size
        with autocast(self.resolved):
            logits = [self.team.whole_batch(scale, size) for scale in self.forward(images)]
        ratio = self.configuration.training.deep_supervision
        return deep_supervision(self.loss, logits, self.team.whole_batch(targets, size), ratio)

    def augmented(self, batch: Batch, iteration: int) -> Inputs:
        """The network's inputs of this iteration, from this process's share of the patches."""
        params, seed = self.draws.of_share(iteration)
        torch.manual_seed(seed)  # for augmentations of others that draw from torch
        augmentation, patch_size = self.configuration.augmentation, self.configuration.patch_size
        images, targets = augmentation.apply(self._there(batch.images), self._there(batch.targets), params, patch_size)
        if batch.prior is not None:
            prior = augmentation.apply_to_prior(self._there(batch.prior), params, patch_size)
            images = network_input(images, prior)
        return Inputs(images, targets, batch.keys, seed)

    def _there(self, patches: Sequence[Tensor]) -> list[Tensor]:
        """On the device."""
        return [patch.to(self.resolved.device) for patch in patches]
