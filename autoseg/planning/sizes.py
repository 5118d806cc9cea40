"""What a patch makes of a network of one size: a U-Net of a planner's own, or a network that was asked for by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from ..parts.contracts import Network
from ..parts.networks import plain_unet, residual_unet
from ..parts.networks._ladder import SMALLEST_EDGE, blocks, features, unet
from ..parts.networks._topology import Topology, find_topology
from ..task import Task
from .memory import elements_of_patch, feature_map_elements
from .named_network import Values

Vector = tuple[float, ...]


class Layout(Protocol):
    """A patch and what its network asks of it."""

    @property
    def patch_size(self) -> tuple[int, ...]:
        """The patch asked for, enlarged to a multiple of ``divisor``."""

    @property
    def divisor(self) -> tuple[int, ...]: ...

    @property
    def is_possible(self) -> bool:
        """Whether there is a network for such a patch."""

    @property
    def why_divisor(self) -> str:
        """``for 5 stages``"""


class Sizes(Protocol):
    """Networks of one size, among which the patch decides."""

    @property
    def title(self) -> str:
        """For a person."""

    def topology(self, spacing: Sequence[float], patch_size: Sequence[float], *, pass_over: bool = False) -> Layout:
        """``pass_over`` tries harder to find a network for a small patch."""

    def elements(self, topology: Any, heads: int) -> int:
        """Feature map elements of one patch."""

    def network(self, topology: Any) -> Network:
        """Raises ValueError where there is none."""

    def too_small(self, topology: Any) -> str:
        """Why there is no network for the largest patch of the images, of which ``topology`` was made."""


@dataclass(frozen=True)
class UNetSizes:
    """U-Nets with a planner's own numbers."""

    base_features: int
    """Of the finest stage; they double per stage."""
    largest_features: int
    template: type[plain_unet.Spec] | type[residual_unet.Spec] = plain_unet.Spec
    blocks_encoder: tuple[int, ...] = (2,)
    """Of each stage, the finest first; the last entry holds for all further stages."""
    blocks_decoder: int = 2
    """Convolutions per stage on the way up."""
    most_stages: int | None = None
    smallest_edge: int = SMALLEST_EDGE
    """Voxels that every axis keeps in the coarsest stage."""

    @property
    def title(self) -> str:
        kind = self.template.__module__.rpartition(".")[2]
        return f"a {kind} of {self.base_features} feature maps and more"

    def topology(self, spacing: Sequence[float], patch_size: Sequence[float], *, pass_over: bool = False) -> Topology:
        """See ``find_topology``."""
        return _topology(tuple(spacing), tuple(patch_size), self.smallest_edge, self.most_stages, pass_over)

    def elements(self, topology: Topology, heads: int) -> int:
        return _elements(self, topology, heads)

    def network(self, topology: Topology) -> plain_unet.Spec | residual_unet.Spec:
        maps = features(self.base_features, self.largest_features, topology.stages)
        return unet(self.template, topology, maps, self.blocks_encoder, self.blocks_decoder)

    def too_small(self, topology: Topology) -> str:
        edge, patch = self.smallest_edge, " x ".join(map(str, topology.patch_size))
        return (
            f"the images are too small for a U-Net: the largest patch is {patch} voxels, and "
            f"to be halved once it needs two axes of {2 * edge} voxels or one of {3 * edge}"
        )


# Planning by measurement plans the same dataset some twenty times, and most of the patches that it tries are the same.
@lru_cache(maxsize=1 << 15)
def _topology(spacing: Vector, patch: Vector, smallest_edge: int, most_stages: int | None, pass_over: bool) -> Topology:
    return find_topology(spacing, patch, smallest_edge, most_stages, pass_over=pass_over)


@lru_cache(maxsize=1 << 15)
def _elements(sizes: UNetSizes, topology: Topology, heads: int) -> int:
    return feature_map_elements(
        topology.patch_size,
        topology.strides,
        features(sizes.base_features, sizes.largest_features, topology.stages),
        down=[sizes.template.convolutions(count) for count in blocks(sizes.blocks_encoder, topology.stages)],
        up=(sizes.blocks_decoder,) * (topology.stages - 1),
        heads=heads,
    )


@dataclass(frozen=True)
class NamedLayout:
    """A patch, and the network of a ladder for it."""

    patch_size: tuple[int, ...]
    divisor: tuple[int, ...]
    network: Network | None
    """None: the patch is too small for one."""
    why_none: str = ""
    why_divisor: str = "as the network asks"

    @property
    def is_possible(self) -> bool:
        return self.network is not None


@dataclass(frozen=True)
class NamedSizes:
    """One size of the ladder of a network that the user has named."""

    name: str
    kind: type[Network]
    number: int
    """Of the size, from 0."""
    of: int
    """How many there are."""
    task: Task
    """Any of the dataset: it says what the network sees, and how many heads it has."""
    chosen: Values = ()
    """Fields of the network that the user has decided, whatever its size."""

    @property
    def title(self) -> str:
        return f"{self.name} in size {self.number + 1} of {self.of}"

    def topology(
        self, spacing: Sequence[float], patch_size: Sequence[float], *, pass_over: bool = False
    ) -> NamedLayout:
        """The network of this size for such a patch; a ladder tries its best with or without ``pass_over``."""
        return _named(self.kind, self.number, tuple(spacing), tuple(patch_size), self.chosen)

    def elements(self, topology: NamedLayout, heads: int) -> int:
        if topology.network is None:
            return math.prod(topology.patch_size)
        configuration = self.task.configuration
        seen = replace(configuration, network=topology.network, patch_size=topology.patch_size, batch_size=1)
        return elements_of_patch(replace(self.task, configuration=seen))

    def network(self, topology: NamedLayout) -> Network:
        if topology.network is None:
            raise ValueError(topology.why_none)
        return topology.network

    def too_small(self, topology: NamedLayout) -> str:
        patch = " x ".join(map(str, topology.patch_size))
        return f"there is no {self.name} for the largest patch of the images, {patch} voxels: {topology.why_none}"


@lru_cache(maxsize=1 << 15)
def _named(kind: type[Network], number: int, spacing: Vector, patch: Vector, chosen: Values) -> NamedLayout:
    asked = tuple(max(1, math.ceil(edge)) for edge in patch)
    try:
        ladder = kind.ladder(spacing, asked)
        network = ladder[min(number, len(ladder) - 1)]
        network = network.with_fields(**dict(chosen)) if chosen else network
    except ValueError as error:
        return NamedLayout(asked, (1,) * len(asked), None, str(error))
    divisor = network.divisor
    return NamedLayout(tuple(math.ceil(edge / step) * step for edge, step in zip(asked, divisor)), divisor, network)
