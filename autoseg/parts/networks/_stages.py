"""What every U-Net's stages must satisfy, whatever they are made of. No torch."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from ...core.bounds import bounded

if TYPE_CHECKING:
    from . import multi_encoder_unet, plain_unet, residual_unet, unpaired_unet

    UNetSpec = plain_unet.Spec | residual_unet.Spec | multi_encoder_unet.Spec | unpaired_unet.Spec

MOST_STAGES = 20  # an edge of a million voxels can be halved as often
MOST_WEIGHTS = 1 << 32  # 17 GB; nnU-Net's largest presets have some 10**8


def check(spec: UNetSpec) -> None:
    """Raises ValueError saying which field does not fit the others."""
    stages = len(spec.features)
    if stages < 2:
        raise ValueError(f"a U-Net needs at least two stages, found features {spec.features}")
    if stages > MOST_STAGES:
        raise ValueError(f"features: {stages} stages are more than {MOST_STAGES}")
    lengths = {
        "kernels": len(spec.kernels),
        "strides": len(spec.strides),
        "blocks_encoder": len(spec.blocks_encoder),
    }
    wrong = {name: length for name, length in lengths.items() if length != stages}
    if wrong or len(spec.blocks_decoder) != stages - 1:
        raise ValueError(
            f"{stages} stages need {stages} kernels, strides and blocks_encoder and {stages - 1} blocks_decoder; "
            f"found {lengths | {'blocks_decoder': len(spec.blocks_decoder)}}"
        )
    if len({len(axes) for axes in (*spec.kernels, *spec.strides)}) != 1 or len(spec.strides[0]) not in (2, 3):
        raise ValueError("every kernel and stride needs 2 entries (2-D) or 3 entries (3-D)")
    if max(spec.strides[0]) > 1:
        raise ValueError(f"strides: the first stage must keep every voxel of the patch, found {spec.strides[0]}")
    bounded(spec, "kernels", least=1, most=99)
    if any(size % 2 == 0 for kernel in spec.kernels for size in kernel):
        raise ValueError(f"kernels must be odd, found {spec.kernels}")
    bounded(spec, "features", least=1, most=1 << 16)
    bounded(spec, "strides", least=1, most=1 << 10)
    bounded(spec, "blocks_encoder", "blocks_decoder", least=1, most=100)
    if (count := weights(spec)) > MOST_WEIGHTS:
        raise ValueError(f"features, kernels and blocks ask for {count:.1g} weights, more than {MOST_WEIGHTS:.1g}")


def weights(spec: UNetSpec) -> int:
    """Roughly, of all convolutions."""
    sizes = [prod(kernel) for kernel in spec.kernels]
    down = sum(n * maps**2 * size for n, maps, size in zip(spec.blocks_encoder, spec.features, sizes))
    up = sum((n + 1) * maps**2 * size for n, maps, size in zip(spec.blocks_decoder, spec.features, sizes))
    steps = sum(a * b * prod(stride) for a, b, stride in zip(spec.features, spec.features[1:], spec.strides[1:]))
    return down + up + steps


def divisor(strides: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Product of the strides along each axis."""
    return tuple(prod(steps) for steps in zip(*strides))
