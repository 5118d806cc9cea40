"""One optimisation step on one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten

from ..configuration import Configuration
from ..core.inputs import InputSpec
from ..core.machine import give_back_unused
from ..core.mishaps import out_of_memory
from ..core.samples import COMPLETE, LABELLED, BuiltObjective, Samples
from ..parts.inputs._encoding import joined
from ..settings import Resolved
from ..task import Task
from .arithmetic import Forward, autocast
from .batches import Batch
from .draws import Draws, PatchMove
from .process_group import SINGLE_PROCESS, ProcessGroup
from .state import TrainingState

MIDWAY = 0.5  # the progress of a step that is counted or timed: what an objective phases in is there by then


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
    complete: Tensor | None = None
    """As ``images``, with all channels that the cases have; None: the objective does not ask for that."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that lies on the device."""
        return tuple(each for each in (self.images, self.targets, self.complete) if each is not None)


@dataclass(frozen=True)
class Step:
    """Augment, forward, backward, clip, update."""

    configuration: Configuration
    inputs: InputSpec
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
        return cls(task.configuration, task.inputs, Draws.of(task, seed, group), resolved, forward, group)

    def __call__(
        self, state: TrainingState, inputs: Inputs, progress: float, meanwhile: Callable[[], None] | None = None
    ) -> float | None:
        """The loss of the state's objective. None: loss or gradient was not finite, nothing was changed.

        ``progress`` of the training, from 0 to 1, decides the learning rate, and whatever the objective phases in. The
        loss is that of all processes' inputs. ``meanwhile`` is called once a GPU has enough to do for a while. Where
        memory does not suffice for the batch, it is computed in parts, of which ``state`` remembers the number: so are
        all batches from then on. Raises torch's error where it does not suffice for one patch, or for what one of
        several processes has to compute.
        """
        loss = self._with_gradients(state, inputs, progress)
        while loss is None:
            state.optimizer.zero_grad(set_to_none=True)
            give_back_unused(self.resolved.device)
            state.parts = min(2 * state.parts, len(inputs.images))
            loss = self._with_gradients(state, inputs, progress)
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
        _leave_unused(state.network)
        factor = self.configuration.schedule.factor(progress, state.iteration)
        for group in state.optimizer.param_groups:
            group["lr"] = self.configuration.optimizer.learning_rate * factor
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if not isfinite(norm.item()):  # skipped: there are no new weights to follow
            return value
        if state.average is not None:
            state.average.update_parameters(state.network)
        state.objective.after_step(state.network)
        return value

    def _with_gradients(self, state: TrainingState, inputs: Inputs, progress: float) -> Tensor | None:
        """The loss, gradients being where the optimizer looks for them; None where memory does not suffice for that.

        While an error is handled, what was computed until then is alive: nothing is tried again in here.
        """
        state.optimizer.zero_grad(set_to_none=True)
        try:
            if state.parts > 1 and self.group.size == 1:
                return self._in_parts(state, inputs, progress)
            torch.manual_seed(inputs.seed)
            loss = self.loss_of(state.objective, inputs, progress)
            state.scaler.scale(loss * self.group.size).backward()  # of the processes' gradients the mean is taken
            return loss.detach()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or self.group.size > 1 or state.parts >= len(inputs.images):
                raise
        return None

    def _in_parts(self, state: TrainingState, inputs: Inputs, progress: float) -> Tensor:
        """The loss of the whole batch and its gradients, with the activations of one part of it at a time.

        A Dice over the batch is no mean over patches: so all parts are measured first, the objective judges them
        together, and then the gradient with respect to its measures goes back through each part, which is computed once
        more. (A network that normalises over the batch would see statistics of a part; ours normalise each patch.)
        """
        objective, count = state.objective, min(state.parts, len(inputs.images))
        split = {name: samples.split(count) for name, samples in self._samples(inputs, progress).items()}
        parts = [dict(zip(split, each)) for each in zip(*split.values())]
        measured = [
            self._measured_only(objective, part, progress, inputs.seed + number) for number, part in enumerate(parts)
        ]
        whole = [_joined(pieces) for pieces in zip(*(leaves for leaves, _ in measured))]
        loss = objective.judge(tree_unflatten(whole, measured[0][1]))
        state.scaler.scale(loss).backward()
        gradients = [each.grad for each in whole]
        for number, part in enumerate(parts):
            torch.manual_seed(inputs.seed + number)
            leaves = tree_leaves(self._measured(objective, part, progress))
            here = [None if each is None else each[: len(leaf)] for leaf, each in zip(leaves, gradients)]
            gradients = [None if each is None else each[len(leaf) :] for leaf, each in zip(leaves, gradients)]
            flowing = [pair for pair in zip(leaves, here) if pair[0].requires_grad and pair[1] is not None]
            torch.autograd.backward([leaf for leaf, _ in flowing], [gradient for _, gradient in flowing])
        return loss.detach()

    def _measured_only(
        self, objective: BuiltObjective, samples: Mapping[str, Samples], progress: float, seed: int
    ) -> tuple[list[Tensor], TreeSpec]:
        """Without what a backward pass needs: the tensors, and in which lists they were."""
        torch.manual_seed(seed)
        leaves, lists = tree_flatten(self._measured(objective, samples, progress))
        return [leaf.detach() for leaf in leaves], lists

    def loss_of(self, objective: BuiltObjective, inputs: Inputs, progress: float = MIDWAY) -> Tensor:
        """The loss of the inputs; the patches of the other processes count as much as these."""
        size = self.configuration.batch_size
        measures = self._measured(objective, self._samples(inputs, progress), progress)
        return objective.judge(tree_map(lambda each: self.group.whole_batch(each, size), measures))

    def _measured(self, objective: BuiltObjective, samples: Mapping[str, Samples], progress: float) -> Any:
        """What the objective has to know of these patches, each by itself."""
        return objective.measure(self._logits, samples, progress)

    def _logits(self, network_input: Tensor, network: nn.Module | None = None) -> Sequence[Tensor]:
        """Of the network that is trained, or of another: see ``core.samples.ForwardPass``."""
        with autocast(self.resolved):
            logits: Sequence[Tensor] = (self.forward if network is None else network)(network_input)
        return logits

    def _samples(self, inputs: Inputs, progress: float) -> dict[str, Samples]:
        """Of every stream that the objective learns from."""
        configuration = self.configuration
        spacing = tuple(mm for mm in configuration.spacing if mm is not None)[-configuration.dimensions :]
        labelled = Samples(inputs.images, inputs.targets, inputs.keys, spacing, self.inputs, progress)
        found = {LABELLED: labelled}
        if inputs.complete is not None:
            found[COMPLETE] = replace(labelled, network_input=inputs.complete)
        return found

    def augmented(self, batch: Batch, iteration: int) -> Inputs:
        """The network's inputs of this iteration, from this process's share of the patches."""
        drawn = self.draws.of_shard(iteration)
        torch.manual_seed(drawn.seed)  # for augmentations of others that draw from torch
        augmentation, patch_size, params = self.configuration.augmentation, self.configuration.patch_size, drawn.params
        images, targets = augmentation.apply(self._there(batch.images), self._there(batch.targets), params, patch_size)

        def seen(absent: Sequence[tuple[int, ...]]) -> Tensor:
            move = PatchMove(augmentation, params, patch_size, absent)
            extras = [
                part.apply(self._there(arrays), targets, own, move)
                for part, arrays, own in zip(self.configuration.inputs, batch.extras, drawn.inputs, strict=True)
            ]
            left = _without(images, absent, self.configuration.slices)  # now: an augmentation changes 0, too
            return joined(left, extras)

        complete = seen(batch.absent) if COMPLETE in self.configuration.objective.streams else None
        reduced = seen(self.draws.left_out(drawn, batch.absent))
        return Inputs(reduced, targets, batch.keys, drawn.seed, complete)

    def _there(self, patches: Sequence[Tensor]) -> list[Tensor]:
        """On the device."""
        return [patch.to(self.resolved.device) for patch in patches]


def _leave_unused(network: Any) -> None:
    """Takes the gradient from ``contracts.Network``'s alternatives that no patch of any process has used: else weight
    decay and the momentum of earlier steps would move them."""
    for weights in getattr(network, "alternatives", ()):
        gradients = [weight.grad.flatten() for weight in weights if weight.grad is not None]
        if gradients and not torch.cat(gradients).any():
            for weight in weights:
                weight.grad = None


def _without(images: Tensor, absent: Sequence[Sequence[int]], slices: int) -> Tensor:
    """``images`` (B, channels * slices, *patch), in which of each patch the channels ``absent`` are 0."""
    if not any(absent):
        return images
    lost = torch.zeros(len(images), images.shape[1] // slices, dtype=torch.bool)
    for row, channels in zip(lost, absent):
        row[list(channels)] = True
    lost = lost.repeat_interleave(slices, 1).to(images.device)
    return images.masked_fill(lost.view(*lost.shape, *(1,) * (images.dim() - 2)), 0.0)


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    """Of the whole batch; collects a gradient where there can be one."""
    whole = torch.cat(list(pieces))
    return whole.requires_grad_(whole.is_floating_point())
