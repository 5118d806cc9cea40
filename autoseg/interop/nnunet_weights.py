"""The weights of nnU-Net's networks under our names, and ours under theirs.

nnU-Net's decoders count from the coarsest stage, ours from the finest. Its files hold most tensors several times:
every block lists its layers once more as ``all_modules``, and the decoder holds the encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union

import torch
from torch import Tensor

from ..configuration import Configuration
from ..errors import ModelError
from ..parts.contracts import Network
from ..parts.networks import plain_unet, residual_unet
from ..task import Task
from .checkpoint import Checkpoint, StoredTensor
from .nnunet_json import said

UNet = Union[plain_unet.Spec, residual_unet.Spec]
Shapes = dict[str, tuple[int, ...]]
"""Name of a weight to its shape."""
PREFIXES = ("module.", "_orig_mod.")  # of networks on several GPUs, and of compiled ones
PROJECTION = re.compile(r"\.skip\.\d\.conv$")  # the convolution past a residual block has no bias
COPY = re.compile(r"\.all_modules\.\d\.")  # of a block's layers; where there is dropout, the norm is the third
CASCADE = "network."  # a cascade's U-Net lies within a module that turns labels into channels


def names(network: Network) -> dict[str, str]:
    """Every parameter of ``network``: our name to nnU-Net's. Raises ModelError for a network that nnU-Net has not."""
    if not isinstance(network, plain_unet.Spec | residual_unet.Spec):
        raise ModelError(f"nnU-Net has no network {type(network).__module__}; only its U-Nets can be exchanged with it")
    encoder = _residual_encoder(network) if isinstance(network, residual_unet.Spec) else _plain_encoder(network)
    return {
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for ours, theirs in (*encoder, *_decoder(network))
        for kind in ("weight", "bias")
        if kind == "weight" or not PROJECTION.search(theirs)
    }


def from_nnunet(stored: Mapping[str, Any], configuration: Configuration, where: str) -> dict[str, str]:
    """Our name of every weight to the name under which it is ``stored``.

    Raises ModelError naming weights that are missing, or that are there and have no place in the network.
    """
    prefix = CASCADE if configuration.previous is not None else ""
    plain = {plain_name(name): name for name in stored if not COPY.search(name)}
    wanted = names(configuration.network)
    missing = sorted(theirs for theirs in wanted.values() if theirs not in plain)
    surplus = sorted(set(plain) - set(wanted.values()) - set(copies(wanted.values())))
    if missing or surplus:
        what = f"{missing[0]} is missing" if missing else f"{said(surplus[0])} has no place in it"
        raise ModelError(f"{where} does not hold the network that its plans describe: {what}")
    return {f"{prefix}{ours}": plain[theirs] for ours, theirs in wanted.items()}


def finite_weights(stored: Checkpoint, found: Mapping[str, StoredTensor], cure: str = "") -> dict[str, Tensor]:
    """The tensors ``found`` in a checkpoint, float32. Raises ModelError, with the ``cure``, where its bytes cannot hold
    them or a training has failed."""
    if sum(weight.size for weight in found.values()) > stored.size:
        raise ModelError(f"{stored.where} is damaged: its {stored.size} bytes cannot hold so many weights")
    weights = {name: weight.float() for name, weight in stored.tensors(found)}
    broken = next((name for name, weight in weights.items() if not weight.isfinite().all()), None)
    if broken is not None:
        raise ModelError(f"{stored.where} holds NaN or infinity in {broken}: its training has failed{cure}")
    return weights


def to_nnunet(weights: Mapping[str, Tensor], configuration: Configuration) -> dict[str, Tensor]:
    """nnU-Net's state of a network, with every copy that it lists."""
    prefix = CASCADE if configuration.previous is not None else ""
    wanted = names(configuration.network)
    state = {theirs: weights[f"{prefix}{ours}"] for ours, theirs in wanted.items()}
    return state | {copy: state[theirs] for theirs in wanted.values() for copy in copies([theirs])}


def shapes(task: Task) -> Shapes:
    """Of every weight of the network that the plan builds, without building it."""
    with torch.device("meta"):
        return {name: tuple(weight.shape) for name, weight in task.network().state_dict().items()}


def copies(theirs: Iterable[str]) -> Iterator[str]:
    """The further names under which nnU-Net stores the same tensors."""
    for name in theirs:
        module, _, kind = name.rpartition(".")
        block, _, layer = module.rpartition(".")
        same = [name]
        if layer in ("conv", "norm"):
            same.append(f"{block}.all_modules.{('conv', 'norm').index(layer)}.{kind}")
            yield same[1]
        if name.startswith("encoder."):
            yield from (f"decoder.{copy}" for copy in same)


def _plain_encoder(network: UNet) -> Iterator[tuple[str, str]]:
    for stage, blocks in enumerate(network.blocks_encoder):
        for block in range(blocks):
            yield from _block(f"encoder.{stage}.{block}", f"encoder.stages.{stage}.0.convs.{block}")


def _residual_encoder(network: UNet) -> Iterator[tuple[str, str]]:
    yield from _block("encoder.0.0", "encoder.stem.convs.0")
    inputs = network.features[0]
    for stage, (outputs, stride, blocks) in enumerate(zip(network.features, network.strides, network.blocks_encoder)):
        for block in range(blocks):
            ours, theirs = f"encoder.{stage}.{block + (stage == 0)}", f"encoder.stages.{stage}.blocks.{block}"
            yield from _block(f"{ours}.first", f"{theirs}.conv1")
            yield f"{ours}.convolution", f"{theirs}.conv2.conv"
            yield f"{ours}.norm", f"{theirs}.conv2.norm"
            if block == 0 and inputs != outputs:
                pooled = int(max(stride) > 1)  # the pooling comes first and has no weights
                yield f"{ours}.shortcut.{pooled}", f"{theirs}.skip.{pooled}.conv"
                yield f"{ours}.shortcut.{pooled + 1}", f"{theirs}.skip.{pooled}.norm"
        inputs = outputs


def _decoder(network: UNet) -> Iterator[tuple[str, str]]:
    coarsest = len(network.blocks_decoder) - 1
    for stage, blocks in enumerate(network.blocks_decoder):
        theirs = coarsest - stage
        yield f"up.{stage}", f"decoder.transpconvs.{theirs}"
        yield f"heads.{stage}", f"decoder.seg_layers.{theirs}"
        for block in range(blocks):
            yield from _block(f"decoder.{stage}.{block}", f"decoder.stages.{theirs}.convs.{block}")


def _block(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.convolution", f"{theirs}.conv"
    yield f"{ours}.norm", f"{theirs}.norm"


def plain_name(name: str) -> str:
    """As nnU-Net's network calls it itself."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name
