"""How sure a prediction is, and how far the members of an ensemble disagree, in bits.

The entropy of the mean of several predictions is the mean of their entropies, how unsure each is by itself, plus the
mutual information between the label and who predicts it: how far they disagree (Houlsby et al. 2011, arXiv:1112.5745;
Depeweg et al. 2018, arXiv:1710.07283; mirrored passes as members: Wang et al. 2019, doi:10.1016/j.neucom.2019.01.103).
Of both means only sums are needed, so memory does not grow with the number of members.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from ..core.labels import Labels


def entropy(logits: Tensor, labels: Labels) -> Tensor:
    """Bits (...) of logits (..., heads), 0 to log2(heads); of regions that of the least sure one, 0 to 1."""
    return _entropies(labels.probabilities(logits), labels).amax(-1)


def sums_per_voxel(labels: Labels) -> int:
    """How many numbers ``summand`` gives."""
    return labels.heads + (1 if labels.exclusive else labels.heads)


def summand(logits: Tensor, labels: Labels) -> Tensor:
    """What one member adds, (..., sums_per_voxel): its probabilities and its entropy, of regions one of each."""
    chances = labels.probabilities(logits)
    return torch.cat((chances, _entropies(chances, labels)), -1)


def disagreement(means: Tensor, labels: Labels) -> Tensor:
    """Mutual information (...) in bits from the weighted mean of all summands; of regions the largest."""
    chances, entropies = means[..., : labels.heads], means[..., labels.heads :]
    return (_entropies(chances, labels) - entropies).amax(-1).clamp_min_(0)  # below 0 only by rounding


def disagreement_between(chances: Sequence[Tensor], weights: Sequence[float], labels: Labels) -> Tensor:
    """Mutual information (...) in bits between the label and which of several probabilities (..., heads) gives it."""
    summed = sum(
        weight * torch.cat((each, _entropies(each, labels)), -1) for weight, each in zip(weights, chances, strict=True)
    )
    assert isinstance(summed, Tensor)
    return disagreement(summed, labels)


def _entropies(chances: Tensor, labels: Labels) -> Tensor:
    """(..., 1) in bits; of regions (..., heads)."""
    if labels.exclusive:
        return torch.special.entr(chances).sum(-1, keepdim=True) / log(2)
    return (torch.special.entr(chances) + torch.special.entr(1 - chances)) / log(2)
