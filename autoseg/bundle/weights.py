"""The weights of one network. What the file and the plan claim is compared before anything of its size is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..core.json_text import parse_json
from ..core.names import short
from ..core.records import from_json
from ..errors import ModelError, RecordError
from ..task import Task
from .trained import Trained

LARGEST_HEADER = 4 << 20  # bytes; 300 tensors, as many as nnU-Net's largest preset has, take 40 kB
FLOATS = ("F16", "BF16", "F32", "F64")  # as safetensors calls them
SHOWN = 3  # differences that a message names


@dataclass(frozen=True)
class Stored:
    """What a safetensors file says of one tensor."""

    dtype: str
    """As safetensors calls it: ``F32``."""
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    """Bytes after the header."""


def read_weights(trained: Trained, name: str, fold: str) -> dict[str, Tensor]:
    """The weights of one network by name. Raises ModelError when they are damaged, or those of another network."""
    where = trained.where(name, fold)
    try:
        header = read_header(trained.weight_blocks(name, fold), where)
        _compare(header, trained.plan.task(name), where)
        weights = load(trained.weights(name, fold))
    except (SafetensorError, OSError) as error:
        said = short(str(error), 300)
        raise ModelError(f"{where} is damaged ({said}); copy it again from where it was trained") from None
    for key, values in weights.items():
        if not torch.isfinite(values.float()).all():
            raise ModelError(f"{where}: {key} holds values that are not finite; train the model again")
    return weights


def read_header(blocks: Iterable[bytes], where: str) -> dict[str, Stored]:
    """Name to tensor, of the safetensors file whose bytes begin with ``blocks``; no more of them are taken than needed.

    ``where`` starts the message of a ModelError.
    """
    start, wanted = bytearray(), 8
    for block in blocks:
        start += block
        if len(start) >= 8:
            wanted = 8 + int.from_bytes(start[:8], "little")
        if wanted > 8 + LARGEST_HEADER:
            raise ModelError(f"{where} is damaged, or no safetensors file: its header would have {wanted - 8} bytes")
        if len(start) >= wanted:
            break
    if len(start) < wanted or wanted == 8:
        raise ModelError(f"{where} is damaged, or no safetensors file: it ends within its header")
    try:
        header = parse_json(bytes(start[8:wanted]), where)
        if isinstance(header, dict):
            header.pop("__metadata__", None)
        tensors: dict[str, Stored] = from_json(dict[str, Stored], header, where)
    except RecordError as error:
        raise ModelError(f"{where} is damaged, or no safetensors file: {short(str(error), 500)}") from None
    return tensors


def _compare(found: dict[str, Stored], task: Task, where: str) -> None:
    """Raises ModelError where the weights are not those of the network that the task describes."""
    blocks = task.configuration.network.blocks
    if blocks > len(found):  # every block has weights, and even one without values takes its time to be made
        raise ModelError(
            f"{where} does not belong to the plan beside it: it holds {len(found)} tensors, "
            f"too few for {short(blocks, 30)} blocks"
        )
    try:
        with torch.device("meta"):
            state = task.network().state_dict()
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
