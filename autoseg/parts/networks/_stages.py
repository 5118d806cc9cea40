"""The stages of a network, whatever they are made of, and what they must satisfy. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.bounds import bounded
from . import _ladder

if TYPE_CHECKING:
    from ...core.inputs import InputSpec

MOST_STAGES = 20  # an edge of a million voxels can be halved as often
MOST_WEIGHTS = 1 << 32  # 17 GB; nnU-Net's largest presets have some 10**8


Encoder = TypeVar("Encoder", bound="EncoderSpec")
Spec = TypeVar("Spec", bound="UNetSpec")


@dataclass(frozen=True)
class EncoderSpec:
    """The way down. One entry per stage, the finest first; a stage is a few convolutions at one resolution."""

    features: tuple[int, ...]
    """Feature maps of each stage."""
    kernels: tuple[tuple[int, ...], ...]
    """Kernel of each stage's convolutions, voxels per axis, odd; two entries for 2-D."""
    strides: tuple[tuple[int, ...], ...]
    """Stride with which each stage is entered; the first is all ones: logits are wanted for every voxel."""
    blocks_encoder: tuple[int, ...]
    """Convolutions of each stage on the way down."""

    def __post_init__(self) -> None:
        check(self)

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
        return sum(self.blocks_encoder)

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``."""
        return 0

    def with_fields(self: Encoder, **fields: Any) -> Encoder:
        """See ``contracts.Network``."""
        return replace(self, **fields)

    def check_inputs(self, inputs: InputSpec) -> None:
        """Any are fine."""


@dataclass(frozen=True)
class UNetSpec(EncoderSpec):
    """The way down, and the way up beside it."""

    blocks_decoder: tuple[int, ...]
    """Convolutions of each stage on the way up: one entry fewer, since the coarsest stage has no way up."""
    dropout: float = 0.0
    """Chance of every feature map of the deeper half of the stages to be left out of a training step. Above 0, a
    prediction can sample networks (Monte Carlo dropout). Whole maps, as neighbouring voxels of a map say the same
    (Tompson et al. 2015, arXiv 1411.4280); deep stages only, as dropout in all of them holds training back (Kendall et
    al. 2015, arXiv 1511.02680)."""

    @property
    def drops(self) -> tuple[bool, ...]:
        """Of each stage, whether its feature maps are subject to dropout."""
        stages = len(self.features)
        return tuple(self.dropout > 0 and stage >= stages // 2 for stage in range(stages))

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return sum(self.blocks_encoder) + sum(self.blocks_decoder)

    @classmethod
    def ladder(cls: type[Spec], spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``: the patch decides how often which axis is halved."""
        return _ladder.ladder(cls, spacing, patch_size)


def check(spec: EncoderSpec) -> None:
    """Raises ValueError saying which field does not fit the others."""
    stages, up = len(spec.features), isinstance(spec, UNetSpec)
    if stages < 2:
        raise ValueError(f"a {'U-Net' if up else 'network'} needs at least two stages, found features {spec.features}")
    if stages > MOST_STAGES:
        raise ValueError(f"features: {stages} stages are more than {MOST_STAGES}")
    wanted = dict.fromkeys(("kernels", "strides", "blocks_encoder"), stages)
    if up:
        wanted["blocks_decoder"] = stages - 1
    found = {name: len(getattr(spec, name)) for name in wanted}
    if found != wanted:
        raise ValueError(
            f"{stages} stages need {stages} kernels, strides and blocks_encoder"
            f"{f' and {stages - 1} blocks_decoder' if up else ''}; found {found}"
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
    bounded(spec, *(name for name in wanted if name.startswith("blocks")), least=1, most=100)
    if up:
        bounded(spec, "dropout", least=0, below=1)
    refuse_too_many(weights(spec), "features, kernels and blocks")


def refuse_too_many(count: int, fields: str) -> None:
    """Raises ValueError where the ``fields`` of a network ask for more weights than anybody has."""
    if count > MOST_WEIGHTS:
        raise ValueError(f"{fields} ask for {count:.1g} weights, more than {MOST_WEIGHTS:.1g}")


def weights(spec: EncoderSpec) -> int:
    """Roughly, of all convolutions."""
    sizes, before = [prod(kernel) for kernel in spec.kernels], (0, *spec.features)
    stages = zip(spec.blocks_encoder, before, spec.features, sizes)
    down = sum((inputs + n * maps) * maps * size for n, inputs, maps, size in stages)
    decoder = spec.blocks_decoder if isinstance(spec, UNetSpec) else ()
    up = sum((n + 1) * maps**2 * size for n, maps, size in zip(decoder, spec.features, sizes))
    steps = sum(a * b * prod(stride) for a, b, stride in zip(spec.features, spec.features[1:], spec.strides[1:]))
    return down + up + steps


def divisor(strides: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Product of the strides along each axis."""
    return tuple(prod(steps) for steps in zip(*strides))
