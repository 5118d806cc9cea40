"""TrainingState: everything that a training continues from, and its checkpoints.

There is no random state to save: every iteration draws from generators that depend on the seed and its own number.
"""

from __future__ import annotations

import logging
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from ..core.files import atomic_file, remove_unfinished
from ..core.seeds import generator
from ..errors import TrainingError
from ..plan import Configuration, Plan
from ..settings import RunSettings, resolve

LOG = logging.getLogger("autoseg")
KEPT = 2  # checkpoints; should the newest turn out damaged, the one before it is taken


@dataclass
class TrainingState:
    """Mutable: ``fit`` advances it."""

    network: nn.Module
    optimizer: optim.Optimizer
    scaler: torch.amp.GradScaler
    """Does something for float16 only."""
    iteration: int = 0
    """Finished iterations."""
    seconds_trained: float = 0.0
    losses: list[float] = field(default_factory=list)
    """Of the iterations of the current epoch; skipped steps left out."""
    smooth_dice: float | None = None
    """Moving average of the online Dice."""
    best_dice: float | None = None
    """Its largest value so far."""


def start(plan: Plan, configuration: Configuration, settings: RunSettings) -> TrainingState:
    """A training at its beginning: weights depend on the seed only, the network lies on the device."""
    resolved = resolve(settings)
    torch.manual_seed(int(generator(settings.seed, "weights").integers(2**63)))
    network = plan.network_of(configuration).to(resolved.device)
    optimizer = configuration.optimizer.build(network.parameters())
    float16 = resolved.dtype == torch.float16
    return TrainingState(network, optimizer, torch.amp.GradScaler(resolved.device.type, enabled=float16))


def save(state: TrainingState, folder: Path) -> Path:
    """Writes a checkpoint into ``folder`` and removes all but the newest two."""
    path = folder / f"iteration_{state.iteration:08d}.pt"
    content = {
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "iteration": state.iteration,
        "seconds_trained": state.seconds_trained,
        "losses": state.losses,
        "smooth_dice": state.smooth_dice,
        "best_dice": state.best_dice,
    }
    with atomic_file(path) as temporary:
        torch.save(content, temporary)
    for old in _checkpoints(folder)[KEPT:]:
        old.unlink()
    return path


def resume(state: TrainingState, folder: Path) -> bool:
    """Continues ``state`` from the newest undamaged checkpoint in ``folder``; False when there is none.

    Raises TrainingError when the checkpoint belongs to another network.
    """
    remove_unfinished(folder)
    for path in _checkpoints(folder):
        if not _intact(path):
            LOG.warning("%s is damaged; trying the checkpoint before it", path)
            continue
        _restore(state, torch.load(path, map_location="cpu", weights_only=True), path)
        return True
    return False


def _restore(state: TrainingState, content: dict[str, Any], path: Path) -> None:
    try:
        state.network.load_state_dict(content["network"])
        state.optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"{path} was written for another network or optimizer than the plan names now ({_first_line(error)}). "
            f"Take back the change, or remove {path.parent.parent} to start anew"
        ) from None
    if content["scaler"]:
        state.scaler.load_state_dict(content["scaler"])
    state.iteration = content["iteration"]
    state.seconds_trained = content["seconds_trained"]
    state.losses = content["losses"]
    state.smooth_dice = content["smooth_dice"]
    state.best_dice = content["best_dice"]


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("iteration_*.pt"), reverse=True)


def _intact(path: Path) -> bool:
    """Whether the file is a whole zip archive, which is what torch writes, with every checksum right."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, struct.error):
        return False  # whatever a changed byte made of a header


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def save_weights(path: Path, network: nn.Module) -> None:
    """Writes the network's weights as safetensors: what prediction needs."""
    from safetensors.torch import save_file

    weights: dict[str, Tensor] = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    with atomic_file(path) as temporary:
        save_file(weights, temporary)
