"""The network that nnU-Net's plans describe as one of ours: ``architecture`` or, before 2.4, one key per choice."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..core.names import short
from ..errors import RecordError
from ..parts.networks import plain_unet, residual_unet
from .nnunet_json import said, typed, whole

LOG = logging.getLogger("autoseg")
STAGES = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
OLD_KEYS = {  # nnU-Net before 2.4, and what it became
    "kernel_sizes": "conv_kernel_sizes",
    "strides": "pool_op_kernel_sizes",
    "n_conv_per_stage_decoder": "n_conv_per_stage_decoder",
}
FIXED = {  # arguments with one value that we have, as nnU-Net's planners write them
    "conv_bias": True,
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True, "negative_slope": 0.01},
    "nonlin_first": False,
    "deep_supervision": True,
}
MOST_STAGES, MOST_BLOCKS = 32, 64  # blocks of one stage
MOST_FEATURES, LARGEST_KERNEL = 1 << 16, 63
UNSEEN = {"dropout_op", "dropout_op_kwargs"}  # nothing of it is left in prediction


def read_network(settings: Mapping[str, Any], dimensions: int, where: str) -> plain_unet.Spec | residual_unet.Spec:
    """The network of a resolved configuration; ``where`` starts the message of a RecordError."""
    name, arguments = _architecture(settings, where)
    stages = whole(arguments.get("n_stages"), f"{where}: n_stages", 1, MOST_STAGES)
    allowed = {
        "n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", STAGES[name], "norm_op",
        "n_conv_per_stage_decoder", *FIXED, *UNSEEN,
    }  # fmt: skip
    suffix = f"{dimensions}d"
    fixed = FIXED | {
        "conv_op": f"torch.nn.modules.conv.Conv{suffix}",
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{suffix}",
    }
    wrong = [key for key, value in arguments.items() if key not in allowed or not _same(value, fixed.get(key, value))]
    if wrong:
        raise RecordError(f"{where}: there is no {name} with {short(wrong[0])} = {said(arguments[wrong[0]])}")
    if arguments.get("dropout_op") is not None:
        LOG.warning("%s: dropout is left out; it changes training only", where)
    features = _each(arguments, "features_per_stage", stages, MOST_FEATURES, where)
    parts = plain_unet.Spec if name == "PlainConvUNet" else residual_unet.Spec
    try:
        return parts(
            features=features,
            kernels=_axes(arguments, "kernel_sizes", stages, dimensions, where),
            strides=_axes(arguments, "strides", stages, dimensions, where),
            blocks_encoder=_each(arguments, STAGES[name], stages, MOST_BLOCKS, where),
            blocks_decoder=_each(arguments, "n_conv_per_stage_decoder", stages - 1, MOST_BLOCKS, where)[::-1],
        )  # there coarsest first
    except ValueError as error:
        raise RecordError(f"{where}: {error}") from None


def _same(value: Any, fixed: Any) -> bool:
    """Keyword arguments that are not given have the value that is fixed, which is their default."""
    return {**fixed, **value} == fixed if isinstance(fixed, dict) and isinstance(value, dict) else bool(value == fixed)


def _architecture(settings: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Name of the class without its module, and its arguments in today's words."""
    if "architecture" in settings:
        described = typed(settings, "architecture", where, dict)
        full = typed(described, "network_class_name", where, str)
        module, _, name = full.rpartition(".")
        if name not in STAGES or not module.startswith("dynamic_network_architectures."):
            raise RecordError(f"{where}: the network {said(full)} is not known; known are {', '.join(STAGES)}")
        return name, dict(typed(described, "arch_kwargs", where, dict))
    name = typed(settings, "UNet_class_name", where, str)
    if name not in STAGES:
        raise RecordError(f"{where}: the network {said(name)} is not known; known are {', '.join(STAGES)}")
    blocks = typed(settings, "n_conv_per_stage_encoder", where, list)
    if len(blocks) > MOST_STAGES:
        raise RecordError(f"{where}: a network with {len(blocks)} stages is not known; the most are {MOST_STAGES}")
    base, most = (
        whole(settings.get(key), f"{where}: {key}", 1, MOST_FEATURES)
        for key in ("UNet_base_num_features", "unet_max_num_features")
    )
    arguments = {today: typed(settings, old, where, list) for today, old in OLD_KEYS.items()}
    features = [min(base * 2**stage, most) for stage in range(len(blocks))]
    return name, arguments | {"n_stages": len(blocks), "features_per_stage": features, STAGES[name]: blocks}


def _axes(
    arguments: Mapping[str, Any], key: str, stages: int, dimensions: int, where: str
) -> tuple[tuple[int, ...], ...]:
    """One tuple per stage; nnU-Net also takes one number for a stage, or for all stages."""
    sizes, what = arguments.get(key), f"{where}: {key}"
    per_stage = sizes if isinstance(sizes, list) else [sizes] * stages
    if len(per_stage) != stages:
        raise RecordError(f"{what} has {len(per_stage)} entries for {stages} stages")
    every = [size if isinstance(size, list) else [size] * dimensions for size in per_stage]
    if any(len(size) != dimensions for size in every):
        raise RecordError(f"{what} must have {dimensions} entries for every stage, found {said(sizes)}")
    return tuple(tuple(whole(edge, what, 1, LARGEST_KERNEL) for edge in size) for size in every)


def _each(arguments: Mapping[str, Any], key: str, stages: int, most: int, where: str) -> tuple[int, ...]:
    """One number per stage; nnU-Net also takes one for all."""
    counts, what = arguments.get(key), f"{where}: {key}"
    per_stage = counts if isinstance(counts, list) else [counts] * stages
    if len(per_stage) != stages:
        raise RecordError(f"{what} has {len(per_stage)} entries for {stages} stages")
    return tuple(whole(count, what, 1, most) for count in per_stage)
