"""TrainingState: everything that a training continues from, and its checkpoints.

There is no random state to save: every iteration draws from generators that depend on the seed and its own number.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

from ..core.files import atomic_file, remove_unfinished
from ..core.samples import BuiltObjective
from ..core.seeds import generator
from ..core.weights import RUN, metadata, sealed
from ..errors import TrainingError
from ..settings import RunSettings, resolve
from ..task import Task
from .checkpoint import DamagedError, first_line, read_checkpoint, run_of, write_checkpoint
from .deep_supervision import DeepSupervision
from .initial import Donor, fitted, slow_encoder

LOG = logging.getLogger("autoseg")
KEPT = 2  # checkpoints; should the newest turn out damaged, the one before it is taken


@dataclass(frozen=True)
class FinalPhase:
    """The end of a training that is over before its budget is spent: the rest of the schedule in a few iterations."""

    iteration: int
    """After which it began."""
    progress: float
    """Of the training as it was planned, then."""
    iterations: int
    """How long it takes."""

    def progress_at(self, iteration: int) -> float:
        return 1.0 - (1.0 - self.progress) * self.iterations_left(iteration) / self.iterations

    def iterations_left(self, iteration: int) -> int:
        return self.iteration + self.iterations - iteration


@dataclass
class TrainingState:
    """Mutable: ``fit`` advances it."""

    network: nn.Module
    optimizer: optim.Optimizer
    scaler: torch.amp.GradScaler
    """Does something for float16 only."""
    objective: BuiltObjective
    """What a step makes small; may keep a state of its own, a teacher for example."""
    seed: int = 0
    iteration: int = 0
    """Finished iterations."""
    seconds_trained: float = 0.0
    losses: list[float] = field(default_factory=list)
    """Of the iterations of the current epoch; skipped steps left out."""
    smooth_dice: float | None = None
    """Moving average of the online Dice."""
    best_dice: float | None = None
    """Its largest value so far."""
    average: AveragedModel | None = None
    """Moving average of the weights."""
    volumes_dice: float | None = None
    """Largest Dice on whole validation volumes so far."""
    volumes_iteration: int = 0
    """When that was."""
    final: FinalPhase | None = None
    """Once begun, training ends with it."""
    parts: int = 1
    """In how many parts a batch is computed since memory did not suffice for fewer; the gradient is the same."""
    ended: bool = False
    """Whether its weights are the ones to predict with: its budget was spent when it was saved."""

    @property
    def result(self) -> nn.Module:
        """The network to predict with."""
        return self.network if self.average is None else cast(nn.Module, self.average.module)


def start(task: Task, settings: RunSettings, donor: Donor | None = None) -> TrainingState:
    """A training at its beginning: weights depend on the seed only, or come from a ``donor`` as far as they fit; the
    network lies on the device. Raises UsageError for a donor that is another network."""
    resolved = resolve(settings)
    torch.manual_seed(int(generator(settings.seed, "weights").integers(2**63)))
    configuration, network = task.configuration, task.network()
    if donor is not None:
        network.load_state_dict(fitted(task, network, donor).weights, strict=False)
    network = network.to(resolved.device)
    optimizer = configuration.optimizer.build(network.parameters())
    if (initial := configuration.initial) is not None:
        slow_encoder(network, optimizer, initial.fresh, initial.encoder_rate)
    float16 = resolved.dtype == torch.float16
    scaler = torch.amp.GradScaler(resolved.device.type, enabled=float16)
    decay = configuration.training.ema_decay
    average = moving_average(network, decay) if decay else None
    return TrainingState(network, optimizer, scaler, objective_of(task, network), settings.seed, average=average)


def objective_of(task: Task, network: nn.Module) -> BuiltObjective:
    """The task's objective at the beginning of the training of ``network``."""
    configuration = task.configuration
    loss = configuration.loss.build(task.labels)
    supervision = DeepSupervision.of(loss, configuration.training.deep_supervision)
    return configuration.objective.build(supervision, task.labels, network, task.inputs)


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Of the weights; ``update_parameters`` after every step.

    The share it keeps of itself grows with the number n of updates as (1 + n) / (10 + n), up to ``decay`` (as in
    TensorFlow's ExponentialMovingAverage), so that it soon forgets the weights that training began with.
    """

    def update(averages: Any, weights: Any, updates: Any) -> None:
        count = float(updates)
        torch._foreach_lerp_(averages, weights, 1.0 - min(decay, (1.0 + count) / (10.0 + count)))

    return AveragedModel(network, multi_avg_fn=update)


def save(state: TrainingState, folder: Path, *, ended: bool = False) -> Path:
    """Writes a checkpoint into ``folder`` and removes all but the newest two. ``ended``: it is the training's last."""
    final = state.final
    path = folder / f"iteration_{state.iteration:08d}.pt"
    content = {
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "seed": state.seed,
        "iteration": state.iteration,
        "seconds_trained": state.seconds_trained,
        "losses": state.losses,
        "smooth_dice": state.smooth_dice,
        "best_dice": state.best_dice,
        "average": state.average.state_dict() if state.average else None,
        "objective": state.objective.state_dict(),
        "volumes_dice": state.volumes_dice,
        "volumes_iteration": state.volumes_iteration,
        "final": (final.iteration, final.progress, final.iterations) if final else None,
        "parts": state.parts,
        "ended": ended,
        "run": run_of(folder),
    }
    write_checkpoint(path, content)
    keep_newest(folder, KEPT)
    return path


def keep_newest(folder: Path, count: int) -> None:
    """Removes all checkpoints in ``folder`` but the newest ``count``."""
    for old in _checkpoints(folder)[count:]:
        old.unlink()


def resume(state: TrainingState, folder: Path) -> bool:
    """Continues ``state`` from the newest whole checkpoint in ``folder``; False when there is none.

    What is damaged is set aside: under its name it would be taken for newer than all that are written now. Raises
    TrainingError when the checkpoint belongs to another network or another seed and there is none before it that does
    not.
    """
    remove_unfinished(folder)
    refused: TrainingError | None = None
    for path in _checkpoints(folder):
        try:
            content = read_checkpoint(path)
        except DamagedError as error:
            LOG.warning("%s is damaged (%s) and set aside; trying the checkpoint before it", path, error)
            _set_aside(path)
            continue
        try:
            _restore(state, content, path)
        except TrainingError as error:
            refused = refused or error
            continue
        if refused is not None:
            LOG.warning("%s. The checkpoint before it is used", refused)
        return True
    if refused is not None:
        raise refused
    return False


def _set_aside(path: Path) -> None:
    with suppress(OSError):  # another process that trains with this one has done it
        path.replace(path.with_name(f"damaged_{path.name}"))


def _restore(state: TrainingState, content: dict[str, Any], path: Path) -> None:
    if content["seed"] != state.seed:
        raise TrainingError(
            f"{path.parent.parent} was started with --seed {content['seed']}; give that, or remove it to start anew"
        )
    try:
        state.network.load_state_dict(content["network"])
        state.optimizer.load_state_dict(content["optimizer"])
        if state.average is not None:
            state.average.load_state_dict(content["average"])
        state.objective.load_state_dict(content.get("objective", {}))
        if content["scaler"]:
            state.scaler.load_state_dict(content["scaler"])
        _refuse_misfits(state.optimizer)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise TrainingError(
            f"{path} was written for another network, optimizer or objective than the plan names now "
            f"({first_line(error)}). Take back the change, or remove {path.parent.parent} to start anew"
        ) from None
    state.iteration = content["iteration"]
    state.seconds_trained = content["seconds_trained"]
    state.losses = content["losses"]
    state.smooth_dice = content["smooth_dice"]
    state.best_dice = content["best_dice"]
    state.volumes_dice = content["volumes_dice"]
    state.volumes_iteration = content["volumes_iteration"]
    state.final = FinalPhase(*content["final"]) if content["final"] else None
    state.parts = content.get("parts", 1)
    state.ended = bool(content.get("ended"))


def _refuse_misfits(optimizer: optim.Optimizer) -> None:
    """Torch takes anything for what the optimizer remembers of a parameter. Raises ValueError."""
    for parameter, remembered in optimizer.state.items():
        for name, value in remembered.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"{name} of shape {tuple(value.shape)} for a parameter of {tuple(parameter.shape)}")


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("iteration_*.pt"), reverse=True)


def save_weights(path: Path, network: nn.Module, iteration: int = 0) -> None:
    """Writes the network's weights as safetensors: what prediction needs. ``iteration``: how long it was trained."""
    from safetensors.torch import save as packed

    weights: dict[str, Tensor] = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    with atomic_file(path) as temporary:
        temporary.write_bytes(sealed(packed(weights), {"iteration": str(iteration), RUN: run_of(path)}))


def iteration_of(weights: Path) -> int:
    """How long the network was trained whose weights these are; 0 where that is not known."""
    told = metadata(weights).get("iteration", "0")
    return int(told) if told.isdecimal() else 0
