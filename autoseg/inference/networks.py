"""The networks of a trained model, built once it is sure that this machine can hold them."""

from __future__ import annotations

import torch
from torch import nn

from ..bundle.trained import Trained
from ..bundle.weights import read_weights
from ..core.amounts import bytes_text
from ..core.machine import memory_bytes
from ..core.names import short
from ..errors import ModelError
from ..settings import Resolved
from .memory import patch_bytes

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def refuse_too_large(trained: Trained, name: str, run: Resolved) -> None:
    """Raises ModelError for a configuration whose weights or patches this machine cannot hold."""
    most, task = memory_bytes(), trained.plan.task(name)
    if trained.size > most:
        raise ModelError(
            f"{trained.path}: the weights take {bytes_text(trained.size)}, this machine has {bytes_text(most)} of "
            "memory; choose some of the folds with --folds"
        )
    needed = patch_bytes(task, run)
    if needed > most:
        patch = " x ".join(map(str, task.configuration.patch_size))
        raise ModelError(
            f"{trained.path}: {name} sees patches of {short(patch)} voxels, which take about {bytes_text(needed)} of "
            f"memory; this machine has {bytes_text(most)}, predict on one with more"
        )


def read_network(trained: Trained, name: str, fold: str, device: torch.device) -> nn.Module:
    """One network in evaluation mode. Raises ModelError for weights that are damaged, or another network's."""
    weights = read_weights(trained, name, fold)
    network = trained.plan.task(name).network()
    network.load_state_dict(weights)
    network = network.eval().to(device)
    if device.type == "cpu":
        # Its convolutions are up to a third faster this way; weights decide where an image of one channel cannot.
        for parameter in network.parameters():
            if layout := CHANNELS_LAST.get(parameter.dim()):
                parameter.data = parameter.data.contiguous(memory_format=layout)
    return network
