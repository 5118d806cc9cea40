"""What every U-Net's stages must satisfy, whatever they are made of. No torch."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import plain_unet, residual_unet


def check(spec: plain_unet.Spec | residual_unet.Spec) -> None:
    """Raises ValueError saying which field does not fit the others."""
    stages = len(spec.features)
    if stages < 2:
        raise ValueError(f"a U-Net needs at least two stages, found features {spec.features}")
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
    if any(size < 1 or size % 2 == 0 for kernel in spec.kernels for size in kernel):
        raise ValueError(f"kernels must be odd, found {spec.kernels}")
    counts = (
        *spec.features,
        *spec.blocks_encoder,
        *spec.blocks_decoder,
        *(step for stride in spec.strides for step in stride),
    )
    if min(counts) < 1:
        raise ValueError("features, strides and blocks must be at least 1")


def divisor(strides: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Product of the strides along each axis."""
    return tuple(prod(steps) for steps in zip(*strides))
