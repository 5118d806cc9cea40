"""Weights of a checkpoint that nnU-Net v2 or its self-supervised trainings wrote, for a training to begin with.

Unlike an import, which wants a whole network, it takes what is there: encoders that were trained without labels
(nnssl: Wald et al. 2024, arXiv 2410.23132) come without a decoder. Both store the network under ``network_weights``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.digests import file_digest
from ..data import dataset_json
from ..errors import AutosegError, ModelError
from ..interop.checkpoint import Checkpoint, StoredTensor, open_checkpoint
from ..interop.nnunet_weights import finite_weights, names, plain_name
from ..task import Task
from ..training.initial import IMAGE, Donor, Entry

ENDINGS = (".pth", ".pt")
STATE = "network_weights"


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is meant as a checkpoint."""
    return path.suffix in ENDINGS and path.is_file()


def read_checkpoint(path: Path, task: Task) -> Donor:
    """What a checkpoint holds for the task's network, which must be one of nnU-Net's. Raises ModelError."""
    wanted = names(task.configuration.network)
    with open_checkpoint(path) as stored:
        state = _state(stored)
        there = {plain_name(name): tensor for name, tensor in state.items() if isinstance(name, str)}
        found = {ours: there[theirs] for ours, theirs in wanted.items() if _is_tensor(there.get(theirs))}
        weights = finite_weights(stored, found)
        entries, heads = _described(stored)
    return Donor(path.name, file_digest(path), weights, entries, heads)


def refuse_other_files(path: Path) -> None:
    """Without reading a tensor. Raises ModelError for what is no such checkpoint."""
    with open_checkpoint(path) as stored:
        _state(stored)


def _state(stored: Checkpoint) -> dict[Any, Any]:
    state = stored.values.get(STATE)
    if not isinstance(state, dict):
        raise ModelError(f"{stored.where} holds no {STATE}; is it a checkpoint of nnU-Net v2, or of nnssl?")
    return state


def _is_tensor(value: Any) -> bool:
    return isinstance(value, StoredTensor) and value.storage.dtype.is_floating_point


def _described(stored: Checkpoint) -> tuple[tuple[Entry, ...] | None, tuple[str, ...]]:
    """Channels and labels by name, of a checkpoint that says them; nnssl's do not."""
    arguments = stored.values.get("init_args")
    description = arguments.get("dataset_json") if isinstance(arguments, dict) else None
    if not isinstance(description, dict):
        return None, ()
    try:
        channels = dataset_json.channels_of(description, Path(stored.where))
        labels = dataset_json.labels_of(description, Path(stored.where))
    except AutosegError:
        return None, ()
    return tuple((IMAGE, name, 0) for name in channels), labels.head_names
