"""What the networks of MONAI have in common: their fields' limits, their patches and the packages they need. No torch.

They halve all axes alike, so a patch is enlarged to a multiple of the same power of two along each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil, log2
from typing import TYPE_CHECKING, ClassVar

from ...core.bounds import bounded
from ...core.names import short
from ...errors import MissingPackageError
from ._ladder import SMALLEST_EDGE
from ._ladder import topology as topology_of
from ._topology import Topology

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

EXTRA = "zoo"  # of setup.cfg
LONGEST_PADDING = 2  # an axis gets this many times as long at most
MOST_FEATURES = 1 << 12
MOST_BLOCKS = 100  # of a stage


@dataclass(frozen=True)
class ZooSpec:
    """A network that is built of MONAI's."""

    PACKAGES: ClassVar[tuple[str, ...]] = ("monai",)

    dimensions: int = 3
    """2 or 3."""

    def __post_init__(self) -> None:
        bounded(self, "dimensions", least=2, most=3)

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``."""
        return 0

    def check_inputs(self, inputs: InputSpec) -> None:
        """Any are fine. Raises MissingPackageError, a ValueError, where MONAI is not installed."""
        self.need_packages()

    def need_packages(self) -> None:
        """Raises MissingPackageError where one of ``PACKAGES`` is not installed. Imports none."""
        if missing := [name for name in self.PACKAGES if find_spec(name) is None]:
            raise MissingPackageError(
                f"this network is built of MONAI's, but {' and '.join(missing)} "
                f'{"are" if len(missing) > 1 else "is"} not installed: pip install "autoseg[{EXTRA}]"'
            )

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """See ``contracts.Network``. Raises MissingPackageError where MONAI is not installed or too old, and
        RecordError where its fields ask for more weights than anybody has, before these are made."""
        self.need_packages()
        from ._monai import refuse_too_many_weights

        try:
            refuse_too_many_weights(lambda: self.made(inputs.seen, heads))
            return self.made(inputs.seen, heads)
        except ImportError as error:
            raise MissingPackageError(
                f"this network is built of MONAI's, which cannot be imported ({short(str(error))}): "
                f'pip install --upgrade "autoseg[{EXTRA}]"'
            ) from None

    def made(self, channels: int, heads: int) -> nn.Module:
        """``build``, once its packages are there."""
        raise NotImplementedError


def halvings(patch_size: Sequence[int], most: int) -> int:
    """How often a patch may be halved, at most ``most`` times.

    The longest axis keeps ``SMALLEST_EDGE`` voxels, and no axis is enlarged to more than twice its length. Raises
    ValueError where the patch is too small to be halved once.
    """
    count = min(most, int(log2(max(patch_size) / SMALLEST_EDGE)), int(log2(LONGEST_PADDING * min(patch_size))))
    if count < 1:
        raise ValueError(f"it needs at least two stages, so an axis of {2 * SMALLEST_EDGE} voxels")
    return count


def refuse_small(patch_size: Sequence[int], step: int, why: str) -> None:
    """Raises ValueError where the coarsest maps of a patch, which is enlarged to multiples of ``step``, would be one
    voxel, or most of the patch would be what it was enlarged by. ``why``: what ``step`` comes from."""
    enlarged = [ceil(edge / step) * step for edge in patch_size]
    if max(enlarged) < 2 * step or step > LONGEST_PADDING * min(patch_size):
        raise ValueError(
            f"{why}, so it needs a patch of {2 * step} voxels along one axis, and of {ceil(step / LONGEST_PADDING)} "
            "along all"
        )


def topology(spacing: Sequence[float], patch_size: Sequence[int]) -> Topology:
    """For networks whose axes are halved as often as each is fine and long, like nnU-Net's. Raises ValueError where
    none can be halved."""
    found = topology_of(spacing, patch_size)
    if not found.is_possible:
        raise ValueError(f"it needs at least two stages, so an axis of {3 * SMALLEST_EDGE} voxels")
    return found


def check_stages(spec: ZooSpec, stages: int, *counts: str, least: int = 2, most: int = 8) -> None:
    """Raises ValueError naming the field of ``counts``, tuples of numbers, that has not one for each stage."""
    if not least <= stages <= most:
        raise ValueError(f"{counts[0]}: there must be {least} to {most} stages, found {stages}")
    for name in counts:
        if (found := len(getattr(spec, name))) != stages:
            raise ValueError(f"{name} must have {stages} entries, one for each stage, found {found}")
