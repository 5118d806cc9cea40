"""One optimisation step on one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from ..configuration import Configuration
from ..core.machine import give_back_unused
from ..core.mishaps import out_of_memory
from ..parts.inputs._encoding import joined
from ..settings import Resolved
from ..task import Task
from .arithmetic import Forward, autocast
from .batches import Batch
from .deep_supervision import DeepSupervision, Measures
from .draws import Draws, PatchMove
from .process_group import SINGLE_PROCESS, ProcessGroup
from .state import TrainingState


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
    supervision: DeepSupervision
    draws: Draws
    """What is random about an iteration's batch."""
    resolved: Resolved
    forward: Forward
    """The network, or what stands for it."""
    group: ProcessGroup = SINGLE_PROCESS

    @classmethod
    def of(
        cls,
        task: Task,
        resolved: Resolved,
        seed: int,
        forward: Forward,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> Step:
        """The step that the task prescribes."""
        configuration = task.configuration
        loss = configuration.loss.build(task.labels)
        supervision = DeepSupervision.of(loss, configuration.training.deep_supervision)
        return cls(configuration, supervision, Draws.of(task, seed, group), resolved, forward, group)

    def __call__(
        self, state: TrainingState, inputs: Inputs, factor: float, meanwhile: Callable[[], None] | None = None
    ) -> float | None:
        """The loss; ``factor`` scales the learning rate. None: loss or gradient was not finite, nothing was changed.

        The loss is that of all processes' inputs. ``meanwhile`` is called once a GPU has enough to do for a while.
        Where memory does not suffice for the batch, it is computed in parts, of which ``state`` remembers the number:
        so are all batches from then on. Raises torch's error where it does not suffice for one patch, or for what one
        of several processes has to compute.
        """
        loss = self._with_gradients(state, inputs)
        while loss is None:
            state.optimizer.zero_grad(set_to_none=True)
            give_back_unused(self.resolved.device)
            state.parts = min(2 * state.parts, len(inputs.images))
            loss = self._with_gradients(state, inputs)
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

    def _with_gradients(self, state: TrainingState, inputs: Inputs) -> Tensor | None:
        """The loss, gradients being where the optimizer looks for them; None where memory does not suffice for that.

        While an error is handled, what was computed until then is alive: nothing is tried again in here.
        """
        state.optimizer.zero_grad(set_to_none=True)
        try:
            if state.parts > 1 and self.group.size == 1:
                return self._in_parts(state, inputs)
            torch.manual_seed(inputs.seed)
            loss = self.loss_of(inputs.images, inputs.targets)
            state.scaler.scale(loss * self.group.size).backward()  # of the processes' gradients the mean is taken
            return loss.detach()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or self.group.size > 1 or state.parts >= len(inputs.images):
                raise
        return None

    def _in_parts(self, state: TrainingState, inputs: Inputs) -> Tensor:
        """The loss of the whole batch and its gradients, with the activations of one part of it at a time.

        A Dice over the batch is no mean over patches: so all parts are measured first, the loss judges them together,
        and then the gradient with respect to its measures goes back through each part, which is computed once more.
        (A network that normalises over the batch would see statistics of a part; ours normalise each patch.)
        """
        count = min(state.parts, len(inputs.images))
        parts = list(zip(inputs.images.tensor_split(count), inputs.targets.tensor_split(count)))
        measured = [self._measured_only(*part, inputs.seed + number) for number, part in enumerate(parts)]
        whole = [[_joined(pieces) for pieces in zip(*scale)] for scale in zip(*measured)]
        loss = self.supervision.judge(whole)
        state.scaler.scale(loss).backward()
        start = 0
        for number, part in enumerate(parts):
            torch.manual_seed(inputs.seed + number)
            stop = start + len(part[0])
            pairs = [pair for scale in zip(self._measured(*part), whole) for pair in zip(*scale)]
            flowing = [(each, all_.grad[start:stop]) for each, all_ in pairs if all_.grad is not None]
            torch.autograd.backward([each for each, _ in flowing], [gradient for _, gradient in flowing])
            start = stop
        return loss.detach()

    def _measured_only(self, images: Tensor, targets: Tensor, seed: int) -> Measures:
        """Without what a backward pass needs."""
        torch.manual_seed(seed)
        return [[each.detach() for each in scale] for scale in self._measured(images, targets)]

    def loss_of(self, images: Tensor, targets: Tensor) -> Tensor:
        """Of what the network sees and should say; the patches of the other processes count as much as these."""
        size = self.configuration.batch_size
        measures = self._measured(images, targets)
        return self.supervision.judge([[self.group.whole_batch(each, size) for each in scale] for scale in measures])

    def _measured(self, images: Tensor, targets: Tensor) -> Measures:
        """What the loss has to know of these patches, each by itself."""
        with autocast(self.resolved):
            logits = self.forward(images)
        return self.supervision.measure(logits, targets)

    def augmented(self, batch: Batch, iteration: int) -> Inputs:
        """The network's inputs of this iteration, from this process's share of the patches."""
        drawn = self.draws.of_shard(iteration)
        torch.manual_seed(drawn.seed)  # for augmentations of others that draw from torch
        augmentation, patch_size, params = self.configuration.augmentation, self.configuration.patch_size, drawn.params
        images, targets = augmentation.apply(self._there(batch.images), self._there(batch.targets), params, patch_size)
        move = PatchMove(augmentation, params, patch_size)
        extras = [
            part.apply(self._there(arrays), targets, own, move)
            for part, arrays, own in zip(self.configuration.inputs, batch.extras, drawn.inputs, strict=True)
        ]
        return Inputs(joined(images, extras), targets, batch.keys, drawn.seed)

    def _there(self, patches: Sequence[Tensor]) -> list[Tensor]:
        """On the device."""
        return [patch.to(self.resolved.device) for patch in patches]


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    """Of the whole batch; collects a gradient where there can be one."""
    whole = torch.cat(list(pieces))
    return whole.requires_grad_(whole.is_floating_point())
