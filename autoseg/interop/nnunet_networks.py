"""The network that nnU-Net's plans describe as one of ours: ``architecture`` or, before 2.4, one key per choice."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..errors import RecordError
from ..parts.networks import plain_unet, residual_unet

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
UNSEEN = {"dropout_op", "dropout_op_kwargs"}  # nothing of it is left in prediction


def read_network(settings: Mapping[str, Any], dimensions: int, where: str) -> plain_unet.Spec | residual_unet.Spec:
    """The network of a resolved configuration; ``where`` starts the message of a RecordError."""
    name, arguments = _architecture(settings, where)
    stages = typed(arguments, "n_stages", where, int)
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
        raise RecordError(f"{where}: there is no {name} with {wrong[0]} = {arguments[wrong[0]]!r}")
    if arguments.get("dropout_op") is not None:
        LOG.warning("%s: dropout is left out; it changes training only", where)
    features = _each(arguments.get("features_per_stage"), stages)
    if len(features) != stages:
        raise RecordError(f"{where}: {len(features)} features_per_stage for {stages} stages")
    parts = plain_unet.Spec if name == "PlainConvUNet" else residual_unet.Spec
    try:
        return parts(
            features=features,
            kernels=_axes(arguments["kernel_sizes"], stages, dimensions),
            strides=_axes(arguments["strides"], stages, dimensions),
            blocks_encoder=_each(arguments[STAGES[name]], stages),
            blocks_decoder=_each(arguments["n_conv_per_stage_decoder"], stages - 1)[::-1],  # there coarsest first
        )
    except (KeyError, TypeError, ValueError) as error:
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
            raise RecordError(f"{where}: the network {full!r} is not known; known are {', '.join(STAGES)}")
        return name, dict(typed(described, "arch_kwargs", where, dict))
    name = typed(settings, "UNet_class_name", where, str)
    if name not in STAGES:
        raise RecordError(f"{where}: the network {name!r} is not known; known are {', '.join(STAGES)}")
    blocks = typed(settings, "n_conv_per_stage_encoder", where, list)
    base, most = (
        typed(settings, "UNet_base_num_features", where, int),
        typed(settings, "unet_max_num_features", where, int),
    )
    arguments = {today: typed(settings, old, where, list) for today, old in OLD_KEYS.items()}
    features = [min(base * 2**stage, most) for stage in range(len(blocks))]
    return name, arguments | {"n_stages": len(blocks), "features_per_stage": features, STAGES[name]: blocks}


def _axes(sizes: Any, stages: int, dimensions: int) -> tuple[tuple[int, ...], ...]:
    """One tuple per stage; nnU-Net also takes one number for a stage, or for all stages."""
    per_stage = sizes if isinstance(sizes, list) else [sizes] * stages
    return tuple(tuple(size) if isinstance(size, list) else (size,) * dimensions for size in per_stage)


def _each(counts: Any, stages: int) -> tuple[int, ...]:
    return tuple(counts) if isinstance(counts, list) else (counts,) * stages


def typed(mapping: Mapping[str, Any], key: str, where: str, kind: type) -> Any:
    """``mapping[key]``; raises RecordError when it is not there or not of this kind."""
    value = mapping.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise RecordError(f"{where}: {key} must be a {kind.__name__}, found {value!r}")
    return value
