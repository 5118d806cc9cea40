"""What an explanation looks at: a trained network, a patch, and the voxels whose label is to be explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Scene:
    """Patches have two axes or three; they are those of the network, z first."""

    network: nn.Module
    """In evaluation mode."""
    patch: Tensor
    """(1, channels, *patch), float32, all that the network sees, on its device."""
    region: Tensor
    """(*patch), bool: where the network has decided for the label. Not empty."""
    head: int
    """Of the network, that of the label."""
    spacing: Sequence[float]
    """mm along the patch's axes."""
    seed: int = 0

    def logits(self, patches: Tensor) -> Tensor:
        """The finest (B, heads, *patch)."""
        said = self.network(patches)
        found: Tensor = said[0] if isinstance(said, list | tuple) else said
        return found

    def score(self, patches: Tensor) -> Tensor:
        """(B,): what is explained, the label's mean logit over the region (Vinogradova et al. 2020, arXiv 2002.11434,
        who take the sum)."""
        return self.logits(patches)[:, self.head][:, self.region].mean(1)
