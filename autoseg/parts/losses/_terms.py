"""Terms that losses are made of, each from ``Voxels`` to a scalar that is 0 when the prediction is perfect."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...core.labels import Labels
from ._voxels import Heads, Voxels

Term = Callable[[Voxels], Tensor]
FLOOR = 1e-8  # of denominators; acts only with no smoothing and nothing there
SHIFT = 1e-7  # added before a power below 1, whose slope at 0 is infinite


class WeightedSum:
    """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``.

    Voxels that hold ``labels.ignore_index`` count nowhere. A term of weight 0 is not computed.
    """

    def __init__(self, labels: Labels, *terms: tuple[float, Term]) -> None:
        self.heads = Heads.of(labels)
        self.terms = [(weight, term) for weight, term in terms if weight]

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        voxels = self.heads.look(logits, target)
        return torch.stack([weight * term(voxels) for weight, term in self.terms]).sum()


def cross_entropy(voxels: Voxels) -> Tensor:
    """Mean over voxels, and over heads where there are regions."""
    return voxels.mean(voxels.entropy)


def soft_dice(voxels: Voxels, *, batch: bool, smooth: float) -> Tensor:
    """1 - mean soft Dice over foreground heads, and over patches unless ``batch`` takes them as one."""
    common, predicted, present = voxels.overlap(voxels.foreground, batch=batch)
    return 1.0 - _dice(common, predicted, present, smooth).mean()


def tversky(voxels: Voxels, *, alpha: float, beta: float, batch: bool, smooth: float) -> Tensor:
    """1 - mean Tversky index over foreground heads: Dice with false positives and negatives weighed apart."""
    common, predicted, present = voxels.overlap(voxels.foreground, batch=batch)
    wrong = alpha * (predicted - common) + beta * (present - common)
    return 1.0 - ((common + smooth) / (common + wrong + smooth).clamp_min(FLOOR)).mean()


def generalized_dice(voxels: Voxels, *, batch: bool, smooth: float) -> Tensor:
    """1 - one Dice of all heads together, background too, each weighed by ``1 / volume ** 2``, the rarest by 1.

    A head that is nowhere on weighs as much as the rarest one that is somewhere.
    """
    common, predicted, present = voxels.overlap(slice(None), batch=batch)
    rarest = torch.where(present > 0, present, math.inf).amin(1, keepdim=True)
    weights = torch.where(present > 0, (rarest / present) ** 2, 1.0)
    common, predicted, present = ((weights * volume).sum(1) for volume in (common, predicted, present))
    return 1.0 - _dice(common, predicted, present, smooth).mean()


def weighted_entropy(voxels: Voxels, *, weights: tuple[float, ...]) -> Tensor:
    """Cross-entropy averaged with a weight per head; without ``weights``, one over the head's voxels in the batch.

    Of exclusive labels a voxel has the weight of its label. Of regions each is averaged by itself, over its voxels
    with its weight and over the others with weight 1 (without ``weights``: one over their number).
    """
    present, absent = _volumes(voxels)
    inside, outside = (1.0 / present.clamp_min(1.0), 1.0 / absent.clamp_min(1.0))
    if weights:
        inside, outside = torch.tensor(weights, device=present.device), torch.ones_like(present)
    spread = _spread(voxels, inside, outside)
    axes = (0, *range(2, spread.dim()))
    return ((spread * voxels.entropy).sum(axes) / spread.sum(axes).clamp_min(FLOOR)).mean()


def focal(voxels: Voxels, *, gamma: float) -> Tensor:
    """Cross-entropy times ``(1 - probability of the truth) ** gamma``."""
    return voxels.mean((-torch.expm1(-voxels.entropy) + SHIFT) ** gamma * voxels.entropy)


def top_k(voxels: Voxels, *, share: float) -> Tensor:
    """Mean cross-entropy of the ``share`` of the batch's voxels that have the largest."""
    entropy = voxels.entropy
    if voxels.counted is not None:
        entropy = entropy[voxels.counted.expand_as(entropy)]
    if not entropy.numel():
        return cross_entropy(voxels)  # zero
    hardest = max(1, int(share * entropy.numel()))
    return entropy.flatten().topk(hardest, sorted=False).values.mean()


def exponential_dice(voxels: Voxels, *, gamma: float, batch: bool, smooth: float) -> Tensor:
    """Mean of ``(-ln soft Dice) ** gamma`` over foreground heads, and over patches unless ``batch``."""
    common, predicted, present = voxels.overlap(voxels.foreground, batch=batch)
    return _power(-_dice(common, predicted, present, smooth).clamp_min(FLOOR).log(), gamma).mean()


def exponential_entropy(voxels: Voxels, *, gamma: float) -> Tensor:
    """Mean of ``weight * cross-entropy ** gamma``; the weight of a label is ``(all voxels / its voxels) ** 0.5``."""
    present, absent = _volumes(voxels)
    counted = present + absent
    inside, outside = (counted / present.clamp_min(1.0)).sqrt(), (counted / absent.clamp_min(1.0)).sqrt()
    return voxels.mean(_spread(voxels, inside, outside) * _power(voxels.entropy, gamma))


def _volumes(voxels: Voxels) -> tuple[Tensor, Tensor]:
    """Voxels of the batch where each head should be on, and where not: (heads,) each."""
    present = voxels.on.sum((0, *range(2, voxels.on.dim()))).float()
    counted = voxels.on[:, 0].numel() if voxels.counted is None else voxels.counted.sum()
    return present, counted - present


def _spread(voxels: Voxels, inside: Tensor, outside: Tensor) -> Tensor:
    """Weights (heads,) of voxels where a head should be on and where not, laid out like ``voxels.entropy``."""
    shape = (1, -1, *(1,) * (voxels.on.dim() - 2))
    if voxels.exclusive:
        return torch.where(voxels.on, inside.view(shape), 0.0).sum(1, keepdim=True)
    spread = torch.where(voxels.on, inside.view(shape), outside.view(shape))
    return spread if voxels.counted is None else torch.where(voxels.counted, spread, 0.0)


def _dice(common: Tensor, predicted: Tensor, present: Tensor, smooth: float) -> Tensor:
    return (2.0 * common + smooth) / (predicted + present + smooth).clamp_min(FLOOR)


def _power(values: Tensor, gamma: float) -> Tensor:
    """``values ** gamma`` with a finite slope at 0."""
    floor: float = SHIFT**gamma
    return (values.clamp_min(0.0) + SHIFT) ** gamma - floor
