"""What one training step holds in memory, counted on tensors that have a shape and no data.

The real forward and backward pass run in the precision of the training; every storage is entered when an operation
makes it and struck out when the last tensor on it is gone. Nothing is computed and nothing is allocated, so that a step
can be counted that would not fit this machine.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..configuration import Configuration, StepMemory
from ..core.samples import COMPLETE
from ..settings import Resolved
from ..task import Task
from .onednn import workspace
from .state import objective_of
from .step import Inputs, Step

IN_UPDATE = 3  # an update holds so many times the weights beside its state: themselves, gradients, what comes of these
READ_AHEAD = 2  # batches that wait in main memory while one is trained on


def step_memory(task: Task, resolved: Resolved, threads: int | None) -> StepMemory:
    """Counts one training step after the first, when the optimizer's state is there.

    With ``threads`` it is counted for a CPU: the working memory of oneDNN's convolutions on so many threads is part of
    the peak, and so are batches read ahead. cuDNN's is not: cuDNN takes what is free.
    """
    ledger, configuration = _Ledger(threads), task.configuration
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with FakeTensorMode(allow_non_fake_inputs=True), ledger, resolved.device:
        network = task.network()
        weights = _storages(network.parameters())
        with _CopiesAreClones():
            objective = objective_of(task, network)
        beside = {key: size for key, size in _storages(_tensors(objective.state_dict())).items() if key not in weights}
        batch, seen = _inputs(task)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = Step.of(task, resolved, 0, network).loss_of(objective, seen)
        loss.backward()
    of_weights, of_objective = sum(weights.values()), sum(beside.values())
    state = int(of_weights * _state_per_weight(configuration)) + of_objective
    state += of_weights if configuration.training.ema_decay else 0
    inputs = sum(tensor.untyped_storage().nbytes() for tensor in seen.tensors)
    waiting = batch + inputs if threads is None else (1 + READ_AHEAD) * batch  # a GPU's next inputs are made meanwhile
    return StepMemory(
        weights=of_weights,
        optimizer=state,
        batch=waiting + inputs,
        activations=sum(size for storage, size in kept.items() if storage not in weights),
        peak=waiting + state + max(ledger.peak - of_objective, IN_UPDATE * of_weights),
    )


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Each storage to its bytes."""
    return {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}


def _inputs(task: Task) -> tuple[int, Inputs]:
    """Bytes of a batch as it is read, and the augmented images and targets that come of it."""
    configuration, inputs = task.configuration, task.inputs
    count, patch = configuration.batch_size, configuration.patch_size
    loaded = prod(configuration.augmentation.loaded_shape(patch))
    images = torch.empty((count, inputs.read, *patch))
    targets = torch.empty((count, *patch), dtype=torch.uint8)
    complete = torch.empty_like(images) if COMPLETE in configuration.objective.streams else None
    read = count * loaded * (inputs.voxel_bytes + targets.element_size())
    return read, Inputs(images, targets, ("",) * count, 0, complete)


def _state_per_weight(configuration: Configuration) -> float:
    """Bytes of the optimizer's state for each byte of weights, seen in the update of a small kernel."""
    weights = nn.Parameter(torch.zeros(4, 4, 2, 2, 2))  # an optimizer may update a kernel otherwise than a bias
    weights.grad = torch.zeros_like(weights)
    optimizer = configuration.optimizer.build([weights])
    optimizer.step()
    state = [tensor for tensor in _tensors(optimizer.state_dict()["state"]) if tensor.numel() == weights.numel()]
    return sum(tensor.nbytes for tensor in state) / weights.nbytes


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class _CopiesAreClones(TorchFunctionMode):
    """``copy.deepcopy`` of a network, for a teacher: torch would look where the data of its tensors lie."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            clone = tensor.detach().clone().requires_grad_(tensor.requires_grad)
            memo[id(tensor)] = nn.Parameter(clone, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else clone
        return memo[id(tensor)]


class _Ledger(TorchDispatchMode):
    """Mutable: bytes of all storages alive, now and at most."""

    def __init__(self, threads: int | None) -> None:
        super().__init__()
        self.threads = threads
        """Of oneDNN; None: convolutions need no working memory of ours."""
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.now
        result = func(*args, **(kwargs or {}))
        outputs = _tensors(result)
        for tensor in outputs:
            self._enter(tensor)
        held = self.now
        if self.threads is not None:
            held = max(held, before + workspace(func, args, outputs, self.threads))
        self.peak = max(self.peak, held)
        return result

    def _enter(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.alive:
            return
        self.alive[key] = size
        self.now += size
        weakref.finalize(storage, self._strike_out, key)

    def _strike_out(self, key: int) -> None:
        self.now -= self.alive.pop(key)
