"""Temperatures applied to what networks say, see ``core.temperature``."""

from __future__ import annotations

from torch import Tensor

from ..core.labels import Labels
from ..core.temperature import Temperatures, stretched


def calibrated(logits: Tensor, labels: Labels, temperatures: Temperatures) -> Tensor:
    """Logits (..., heads) whose probabilities are calibrated; without temperatures they are the ones given.

    What they decide is the same, up to rounding where two labels are equally probable.
    """
    if not temperatures:
        return logits
    inverse = logits.new_tensor([1 / temperatures.get(name, 1.0) for name in labels.head_names])
    if labels.exclusive:
        chances = logits.log_softmax(-1)
        return stretched(chances, inverse[labels.winners(chances)].unsqueeze(-1))
    return stretched(logits, inverse)
