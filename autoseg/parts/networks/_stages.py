"""The stages of a U-Net, whatever they are made of, and what they must satisfy. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, TypeVar

from ...core.bounds import bounded
from . import _ladder

if TYPE_CHECKING:
    from ...core.inputs import InputSpec

MOST_STAGES = 20  # an edge of a million voxels can be halved as often
MOST_WEIGHTS = 1 << 32  # 17 GB; nnU-Net's largest presets have some 10**8


Spec = TypeVar("Spec", bound="UNetSpec")


@dataclass(frozen=True)
class UNetSpec:
    """One entry per stage, the finest stage first; a stage is a few convolutions at one resolution."""

    features: tuple[int, ...]
    """Feature maps of each stage."""
    kernels: tuple[tuple[int, ...], ...]
    """Kernel of each stage's convolutions, voxels per axis, odd; two entries for 2-D."""
    strides: tuple[tuple[int, ...], ...]
    """Stride with which each stage is entered; the first is all ones: logits are wanted for every voxel."""
    blocks_encoder: tuple[int, ...]
    """Convolutions of each stage on the way down."""
    blocks_decoder: tuple[int, ...]
    """Convolutions of each stage on the way up: one entry fewer, since the coarsest stage has no way up."""
    dropout: float = 0.0
    """Chance of every feature map of the deeper half of the stages to be left out of a training step. Above 0, a
    prediction can sample networks (Monte Carlo dropout). Whole maps, as neighbouring voxels of a map say the same
    (Tompson et al. 2015, arXiv 1411.4280); deep stages only, as dropout in all of them holds training back (Kendall et
    al. 2015, arXiv 1511.02680)."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def drops(self) -> tuple[bool, ...]:
        """Of each stage, whether its feature maps are subject to dropout."""
        stages = len(self.features)
        return tuple(self.dropout > 0 and stage >= stages // 2 for stage in range(stages))

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.strides[0])

    @property
    def divisor(self) -> tuple[int, ...]:
        """A patch must be a multiple of this along each axis."""
        return divisor(self.strides)

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return sum(self.blocks_encoder) + sum(self.blocks_decoder)

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``."""
        return 0

    @classmethod
    def ladder(cls: type[Spec], spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``: the patch decides how often which axis is halved."""
        return _ladder.ladder(cls, spacing, patch_size)

    def check_inputs(self, inputs: InputSpec) -> None:
        """Any are fine."""


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
    bounded(spec, "dropout", least=0, below=1)
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
