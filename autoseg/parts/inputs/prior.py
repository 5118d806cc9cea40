"""The label map that an earlier stage of a cascade predicts.

In training it is what the earlier stage predicted for cases that it was not trained on. It is moved with the images and
then gets mistakes, so that a network learns to doubt it. It is read as one array of label indices; the network sees
one channel per label, none for background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.bounds import bounded
from ...core.inputs import InputGroup
from ...core.masks import MaskLabels

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ...core.geometry import Box
    from ...core.inputs import CaseInPrediction, CaseInTraining, Move
    from ...core.labels import Labels
    from ._damage import Damage


@dataclass(frozen=True)
class Mistakes:
    """A ``..._label_probability`` is per label of a patch that was chosen; values as nnU-Net v2 2.8.1 takes them."""

    change_probability: float = 0.4
    """A label is dilated, eroded, opened or closed, each equally often."""
    change_label_probability: float = 0.5
    radius: tuple[float, float] = (1.0, 8.0)
    """Voxels, of the ball with which that is done."""
    removal_probability: float = 0.2
    """One connected part of a label becomes background."""
    removal_label_probability: float = 0.5
    removal_below: float = 0.15
    """Share of the patch below which a part is small enough to be removed."""

    def __post_init__(self) -> None:
        bounded(self, *(name for name in vars(self) if name.endswith("probability")), least=0, most=1)
        bounded(self, "radius", least=0, most=1000)
        bounded(self, "removal_below", least=0, most=1)
        low, high = self.radius
        if low > high:
            raise ValueError(f"radius must be a range low..high, found {low:g}..{high:g}")


@dataclass(frozen=True)
class Spec:
    """Of which stage, and what mistakes are made in it in training."""

    previous: str
    """The configuration that predicts it."""
    mistakes: Mistakes = field(default_factory=Mistakes)

    def group(self, channels: Sequence[str], labels: Labels) -> InputGroup:
        """One channel per label, none for background."""
        if isinstance(labels, MaskLabels):
            return InputGroup("prior", "masks", labels.heads)
        return InputGroup("prior", "labels", len(labels.values) - 1)

    def read(self, case: CaseInTraining, box: Box) -> np.ndarray:
        """(1, *box) label indices."""
        indices: np.ndarray = case.predicted(box)[None]
        return indices

    def draw(self, generator: np.random.Generator, *, batch: int, group: InputGroup) -> Sequence[Damage]:
        """The mistakes of each patch."""
        from ._damage import draw_damage

        return draw_damage(self.mistakes, generator, batch, group.channels, masks=group.kind == "masks")

    def apply(self, arrays: Sequence[Tensor], targets: Tensor, drawn: Sequence[Any], move: Move) -> Tensor:
        """Label indices, each (1, *loaded), to (B, 1, *patch): moved as their images, with mistakes."""
        from ._damage import apply_damage

        moved = move.labels(arrays)
        return apply_damage(moved[:, 0], drawn, self.mistakes.removal_below)[:, None]

    def make(self, case: CaseInPrediction) -> np.ndarray:
        """(1, z, y, x) label indices."""
        indices: np.ndarray = case.predicted()[None]
        return indices

    def encode(self, arrays: Tensor, group: InputGroup) -> Tensor:
        """Label indices (B, 1, *patch) to one channel of 0 and 1 per label, or mask."""
        import torch

        if group.kind == "masks":
            masks = arrays.long()
            return torch.cat([masks >> bit & 1 for bit in range(group.channels)], 1).to(arrays.dtype)
        indices = torch.arange(1, group.channels + 1, device=arrays.device, dtype=arrays.dtype)
        return (arrays == indices.view(-1, *(1,) * (arrays.dim() - 2))).to(arrays.dtype)
