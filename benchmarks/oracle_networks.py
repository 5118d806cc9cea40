"""What nnU-Net's own networks give for weights and images made by formula, stored for the tests.

Run it with a Python that has dynamic_network_architectures 0.4:

python benchmarks/oracle_networks.py tests/parts/nnunet_networks.json
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor, nn

CHANNELS, HEADS = 2, 3
SHAPES: list[dict[str, Any]] = [
    {
        "patch": (6, 16, 24),
        "features": (4, 6, 8, 8),  # the last stage has no more features than the one before: no projection
        "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 1, 2)),
        "blocks_encoder": (1, 3, 2, 1),
        "blocks_decoder": (1, 2, 1),
    },
    {
        "patch": (16, 12),
        "features": (4, 8),
        "kernels": ((3, 3), (3, 3)),
        "strides": ((1, 1), (2, 2)),
        "blocks_encoder": (2, 2),
        "blocks_decoder": (2,),
    },
]


def wave(shape: tuple[int, ...], phase: float) -> Tensor:
    """Values by formula, in double precision: the same on every machine."""
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * 0.7 + phase).reshape(shape)


def fill(network: nn.Module) -> None:
    """Weights that depend on nothing but their shape: networks with other names and orders get the same."""
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            values = wave(tuple(weight.shape), 0.3) * math.sqrt(2 / math.prod(weight.shape[1:]))
        else:
            values = wave(tuple(weight.shape), 1.1) * 0.1 + (1.0 if name.endswith("weight") else 0.0)
        weight.data = values


def build(kind: str, shape: dict[str, Any]) -> nn.Module:
    """The real class with nnU-Net's settings."""
    flat = len(shape["patch"]) == 2
    network, blocks = {
        "plain_unet": (PlainConvUNet, "n_conv_per_stage"),
        "residual_unet": (ResidualEncoderUNet, "n_blocks_per_stage"),
    }[kind]
    return network(
        input_channels=CHANNELS,
        n_stages=len(shape["features"]),
        features_per_stage=shape["features"],
        conv_op=nn.Conv2d if flat else nn.Conv3d,
        kernel_sizes=shape["kernels"],
        strides=shape["strides"],
        num_classes=HEADS,
        n_conv_per_stage_decoder=shape["blocks_decoder"][::-1],  # there, the coarsest stage comes first
        conv_bias=True,
        norm_op=nn.InstanceNorm2d if flat else nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
        **{blocks: shape["blocks_encoder"]},
    )


def measure(kind: str, shape: dict[str, Any]) -> dict[str, Any]:
    network = build(kind, shape)
    fill(network)
    with torch.no_grad():
        logits = network(wave((1, CHANNELS, *shape["patch"]), 0.0))
    network.decoder.deep_supervision = False  # as when nnU-Net plans: one head counts
    elements = int(network.compute_conv_feature_map_size(shape["patch"]))
    return {
        "network": kind,
        "shape": shape,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "elements": elements,
        "shapes": [list(scale.shape) for scale in logits],
        "values": [scale.flatten()[:: max(1, scale.numel() // 20)].tolist() for scale in logits],
    }


def main(path: Path) -> None:
    measured = [measure(kind, shape) for kind in ("plain_unet", "residual_unet") for shape in SHAPES]
    path.write_text(json.dumps({"channels": CHANNELS, "heads": HEADS, "networks": measured}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
