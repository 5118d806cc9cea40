"""The networks of a trained model. What files and plan claim is compared before anything of their size is made."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from ..bundle.trained import Trained
from ..bundle.weights import Stored, read_header
from ..core.amounts import bytes_text
from ..core.machine import memory_bytes
from ..core.names import short
from ..errors import ModelError
from ..plan import Configuration, Plan
from ..settings import Resolved
from .memory import patch_bytes

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
FLOATS = ("F16", "BF16", "F32", "F64")  # as safetensors calls them
SHOWN = 3  # differences that a message names


def refuse_too_large(trained: Trained, name: str, run: Resolved) -> None:
    """Raises ModelError for a configuration whose weights or patches this machine cannot hold."""
    most, configuration = memory_bytes(), trained.plan.configurations[name]
    if trained.size > most:
        raise ModelError(
            f"{trained.path}: the weights take {bytes_text(trained.size)}, this machine has {bytes_text(most)} of "
            "memory; choose some of the folds with --folds"
        )
    needed = patch_bytes(trained.plan, configuration, run)
    if needed > most:
        patch = " x ".join(map(str, configuration.patch_size))
        raise ModelError(
            f"{trained.path}: {name} sees patches of {short(patch)} voxels, which take about {bytes_text(needed)} of "
            f"memory; this machine has {bytes_text(most)}"
        )


def read_network(trained: Trained, name: str, fold: str, device: torch.device) -> nn.Module:
    """One network in evaluation mode. Raises ModelError for weights that are damaged, or another network's."""
    where, configuration = trained.where(name, fold), trained.plan.configurations[name]
    try:
        _compare(read_header(trained.weight_blocks(name, fold), where), trained.plan, configuration, where)
        network = trained.plan.network_of(configuration)
        network.load_state_dict(load(trained.weights(name, fold)))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{where} is damaged ({error}); copy it again from where it was trained") from None
    except RuntimeError as error:  # torch lists what does not fit
        raise ModelError(f"{where} does not belong to the plan beside it: {short(str(error), 500)}") from None
    for tensor, values in network.state_dict().items():
        if values.is_floating_point() and not torch.isfinite(values).all():
            raise ModelError(f"{where}: {tensor} holds values that are not finite; train the model again")
    network = network.eval().to(device)
    if device.type == "cpu":
        # Its convolutions are up to a third faster this way; weights decide where an image of one channel cannot.
        for parameter in network.parameters():
            if layout := CHANNELS_LAST.get(parameter.dim()):
                parameter.data = parameter.data.contiguous(memory_format=layout)
    return network


def _compare(found: dict[str, Stored], plan: Plan, configuration: Configuration, where: str) -> None:
    """Raises ModelError where the weights are not those of the network that the plan describes."""
    blocks = sum(sum(getattr(configuration.network, f"blocks_{way}", ())) for way in ("encoder", "decoder"))
    if blocks > len(found):  # every block has weights, and even an empty one takes its time to be made
        raise ModelError(
            f"{where} does not belong to the plan beside it: it holds {len(found)} tensors, "
            f"too few for {short(blocks, 30)} blocks"
        )
    try:
        with torch.device("meta"):
            state = plan.network_of(configuration).state_dict()
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(f"{where}: the network of the plan cannot be built ({short(str(error), 500)})") from None
    different = [f"{key} is missing" for key in state if key not in found]
    different += [f"{short(key)} is unknown" for key in found if key not in state]
    for key, tensor in found.items():
        if key in state and tensor.shape != (shape := tuple(state[key].shape)):
            different.append(f"{key} has shape {short(tensor.shape)} instead of {short(shape)}")
        elif key in state and state[key].is_floating_point() and tensor.dtype not in FLOATS:
            different.append(f"{key} holds {short(tensor.dtype)}, no floating-point numbers")
    if different:
        more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise ModelError(f"{where} does not belong to the plan beside it: {'; '.join(different[:SHOWN])}{more}")
