"""What an explanation promises: the Protocol of the family ``explanations``, as ``contracts`` has those of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.scene import Scene


@runtime_checkable
class Explanation(Protocol):
    """A way to tell by which voxels of a patch a network decided for a label."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def unit(self) -> str:
        """What a value of the map is, for people."""

    def passes(self, scene: Scene) -> int:
        """How many patches the network sees for it."""

    def explain(self, scene: Scene, advance: Callable[[int], None]) -> Tensor:
        """(*patch), float32: positive where voxels speak for the label. ``advance`` is told how many patches were seen.

        Raises UsageError where the network has not what this looks at.
        """
