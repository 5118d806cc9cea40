"""Sizes of networks, from small to large: what the patch decides, and how many feature maps they have. No torch.

The last size is that of Isensee et al. 2021; the first trains on a few processor cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from ._topology import Topology, find_topology

if TYPE_CHECKING:
    from . import _stages

    Spec = TypeVar("Spec", bound=_stages.EncoderSpec)
    UNetSpec = TypeVar("UNetSpec", bound=_stages.UNetSpec)

SMALLEST_EDGE = 4  # voxels that every axis keeps in the coarsest stage (nnU-Net v2 2.8.1)
WIDTHS = {2: ((16, 256), (32, 512), (32, 512)), 3: ((16, 128), (32, 256), (32, 320))}
"""By dimensions: feature maps of the finest stage, which double per stage, and the most that a stage has."""


def ladder(
    kind: type[UNetSpec],
    spacing: Sequence[float],
    patch_size: Sequence[float],
    *,
    blocks_encoder: tuple[int, ...] = (2,),
    blocks_decoder: int = 2,
    most_stages: int | None = None,
) -> tuple[UNetSpec, ...]:
    """See ``contracts.Network.ladder``; blocks as in ``unet``. Raises ValueError for a patch that cannot be halved."""
    found = topology(spacing, patch_size, most_stages)
    return tuple(
        unet(kind, found, features(width, most, found.stages), blocks_encoder, blocks_decoder)
        for width, most in WIDTHS[len(spacing)]
    )


def encoder_ladder(kind: type[Spec], topology: Topology, blocks_encoder: tuple[int, ...]) -> tuple[Spec, ...]:
    """Of a network that only has a way down."""
    return tuple(
        kind(
            features=features(width, most, topology.stages),
            kernels=topology.kernels,
            strides=topology.strides,
            blocks_encoder=blocks(blocks_encoder, topology.stages),
        )
        for width, most in WIDTHS[len(topology.strides[0])]
    )


def topology(spacing: Sequence[float], patch_size: Sequence[float], most_stages: int | None = None) -> Topology:
    """As often as the patch can be halved; where no axis can, without the finest; one stage where that fails, too."""
    found = find_topology(spacing, patch_size, SMALLEST_EDGE, most_stages)
    return (
        found if found.is_possible else find_topology(spacing, patch_size, SMALLEST_EDGE, most_stages, pass_over=True)
    )


def unet(
    kind: type[UNetSpec],
    topology: Topology,
    features: tuple[int, ...],
    blocks_encoder: tuple[int, ...],
    blocks_decoder: int,
) -> UNetSpec:
    """``blocks_encoder`` as in ``blocks``, ``blocks_decoder`` of every stage. Raises ValueError for a single stage."""
    return kind(
        features=features,
        kernels=topology.kernels,
        strides=topology.strides,
        blocks_encoder=blocks(blocks_encoder, topology.stages),
        blocks_decoder=(blocks_decoder,) * (topology.stages - 1),
    )


def features(base: int, most: int, stages: int) -> tuple[int, ...]:
    """Feature maps of each stage: ``base`` of the finest, twice as many from stage to stage, up to ``most``."""
    return tuple(min(most, base * 2**stage) for stage in range(stages))


def blocks(given: Sequence[int], stages: int) -> tuple[int, ...]:
    """Of each stage on the way down, the finest first; the last that is given holds for all further stages."""
    return tuple(given[min(stage, len(given) - 1)] for stage in range(stages))
