"""Terms that losses are made of. Each looks at one patch by itself, then judges a whole batch by what it measured.

So a batch may lie apart, on several GPUs or in parts that come one after the other: only the measures, mostly a few
sums per label, have to come together. They suffice for whatever depends on the batch: one Dice over all patches, a
mean over voxels that are not ignored, weights by the number of voxels. A judgement is 0 when the prediction is perfect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.labels import Labels
from ._recompute import parts_along, recomputed
from ._voxels import Heads, Voxels

FLOOR = 1e-8  # of denominators; acts only with no smoothing and nothing there
SHIFT = 1e-7  # added before a power below 1, whose slope at 0 is infinite
IGNORED = -1.0  # marks a voxel that does not count among cross-entropies, which are never negative


@dataclass(frozen=True)
class Term:
    """One summand of a loss."""

    measure: Callable[..., Tensor]
    """Of voxels, and of their part of the map, if there is one: (B, ...), of each patch what the judgement needs."""
    judge: Callable[[Tensor], Tensor]
    """Scalar, of the measures of all patches of a batch."""
    map: Callable[[Voxels], Tensor] | None = None
    """Of whole patches (B, heads, *patch) without gradient: what a voxel by itself does not tell, a distance say."""
    additive: bool = True
    """Whether measures of two parts of a patch add up to that of both."""


class WeightedSum:
    """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``.

    Voxels that hold ``labels.ignore_index`` count nowhere. A term of weight 0 is not computed. Patches are measured
    slab by slab: see ``_recompute``.
    """

    def __init__(self, labels: Labels, *terms: tuple[float, Term]) -> None:
        self.heads = Heads.of(labels)
        self.terms = [(weight, term) for weight, term in terms if weight]

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.judge(self.measure(logits, target))

    def measure(
        self, logits: Tensor, target: Tensor, spacing: Sequence[float] | None = None, progress: float = 1.0
    ) -> list[Tensor]:
        """Per term (B, ...), at least float32: what ``judge`` needs of each patch. Patches may be joined later.

        ``spacing`` in mm along the axes of the patch, 1 if it is not known; ``progress`` of the training from 0 to 1.
        """
        voxels = self.heads.look(logits, target, spacing, progress)
        sums = iter(self._sums(voxels))
        return [next(sums) if term.additive else term.measure(voxels) for _, term in self.terms]

    def _sums(self, voxels: Voxels) -> list[Tensor]:
        """The measures of all additive terms."""
        terms = [term for _, term in self.terms if term.additive]
        if not terms:
            return []
        maps = [term.map(voxels.part(voxels.given.detach(), voxels.target)) for term in terms if term.map]

        def measure(given: Tensor, target: Tensor, *maps: Tensor) -> list[Tensor]:
            seen, rest = voxels.part(given, target), iter(maps)
            return [term.measure(seen, next(rest)) if term.map else term.measure(seen) for term in terms]

        edges = voxels.given.shape[2:]
        slabs = parts_along(voxels.given, 2 + edges.index(max(edges)))
        found = recomputed(measure, slabs, voxels.given, voxels.target, *maps)
        return [torch.stack(each).sum(0) for each in zip(*found)]

    def judge(self, measures: Sequence[Tensor]) -> Tensor:
        """The loss of the batch whose patches have these measures."""
        values = [weight * term.judge(measured) for (weight, term), measured in zip(self.terms, measures)]
        return torch.stack(values).sum()


def cross_entropy() -> Term:
    """Mean over voxels, and over heads where there are regions."""
    return Term(lambda voxels: voxels.sums(voxels.entropy), mean)


def soft_dice(*, batch: bool, smooth: float) -> Term:
    """1 - mean soft Dice over foreground heads, and over patches unless ``batch`` takes them as one."""

    def judge(measured: Tensor) -> Tensor:
        return 1.0 - _dice(*_volumes(measured, batch), smooth).mean()

    return Term(_foreground, judge)


def tversky(*, alpha: float, beta: float, batch: bool, smooth: float) -> Term:
    """1 - mean Tversky index over foreground heads: Dice with false positives and negatives weighed apart."""

    def judge(measured: Tensor) -> Tensor:
        common, predicted, present = _volumes(measured, batch)
        wrong = alpha * (predicted - common) + beta * (present - common)
        return 1.0 - ((common + smooth) / (common + wrong + smooth).clamp_min(FLOOR)).mean()

    return Term(_foreground, judge)


def noise_robust_dice(*, gamma: float, batch: bool, smooth: float) -> Term:
    """Mean over heads of ``sum |p - truth| ** gamma / (sum p ** 2 + sum truth ** 2)``, background too; of regions also
    of what each leaves out. Where a head is nowhere on it is left out: its quotient would grow as p becomes small."""

    def measure(voxels: Voxels) -> Tensor:
        p, on = voxels.probability, voxels.on
        wrong, squared = (voxels.sum_by_head(each) for each in ((p - on.to(p.dtype)).abs() ** gamma, p * p))
        present = voxels.sum_by_head(on).to(wrong.dtype)
        if voxels.exclusive:
            return torch.stack((wrong, squared, present), 1)
        outside = torch.stack((wrong, voxels.sum_by_head((1.0 - p) ** 2), voxels.sum_by_head(~on).to(wrong.dtype)), 1)
        return torch.cat((torch.stack((wrong, squared, present), 1), outside), 2)

    def judge(measured: Tensor) -> Tensor:
        wrong, squared, present = _volumes(measured, batch)
        values = torch.where(present > 0, wrong / (squared + present + smooth).clamp_min(FLOOR), 0.0)
        return values.sum() / (present > 0).sum().clamp_min(1)

    return Term(measure, judge)


def calibration_error(*, bins: int) -> Term:
    """Mean over patches, foreground heads and bins of ``|mean probability - share of voxels that are on|``; a bin holds
    the voxels whose probability lies in its equal part of 0 to 1, and empty ones do not count."""

    def measure(voxels: Voxels) -> Tensor:
        p, on = voxels.probability[:, voxels.foreground], voxels.on[:, voxels.foreground]
        place = (p.detach() * bins).to(torch.int8).clamp_max(bins - 1)
        place = place if voxels.counted is None else torch.where(voxels.counted, place, -1)
        apart, axes = p - on.to(p.dtype), tuple(range(2, p.dim()))
        inside = [place == number for number in range(bins)]
        sums = [torch.where(each, apart, 0.0).sum(axes) for each in inside]
        return torch.stack((torch.stack(sums, 1), torch.stack([each.sum(axes) for each in inside], 1).to(p.dtype)), 1)

    def judge(measured: Tensor) -> Tensor:
        apart, count = measured.unbind(1)
        errors = (apart.abs() / count.clamp_min(1.0)).sum(1)
        return (errors / (count > 0).sum(1).clamp_min(1)).mean()

    return Term(measure, judge)


def generalized_dice(*, batch: bool, smooth: float) -> Term:
    """1 - one Dice of all heads together, background too, each weighed by ``1 / volume ** 2``, the rarest by 1.

    A head that is nowhere on weighs as much as the rarest one that is somewhere.
    """

    def judge(measured: Tensor) -> Tensor:
        common, predicted, present = _volumes(measured, batch)
        rarest = torch.where(present > 0, present, math.inf).amin(1, keepdim=True)
        weights = torch.where(present > 0, (rarest / present) ** 2, 1.0)
        common, predicted, present = ((weights * volume).sum(1) for volume in (common, predicted, present))
        return 1.0 - _dice(common, predicted, present, smooth).mean()

    return Term(lambda voxels: voxels.overlap(slice(None)), judge)


def exponential_dice(*, gamma: float, batch: bool, smooth: float) -> Term:
    """Mean of ``(-ln soft Dice) ** gamma`` over foreground heads, and over patches unless ``batch``."""

    def judge(measured: Tensor) -> Tensor:
        return _power(-_dice(*_volumes(measured, batch), smooth).clamp_min(FLOOR).log(), gamma).mean()

    return Term(_foreground, judge)


def weighted_entropy(*, weights: tuple[float, ...], exclusive: bool) -> Term:
    """Cross-entropy averaged with a weight per head; without ``weights``, one over the head's voxels in the batch.

    Of ``exclusive`` labels a voxel has the weight of its label. Of regions each is averaged by itself, over its voxels
    with its weight and over the others with weight 1 (without ``weights``: one over their number).
    """

    def judge(measured: Tensor) -> Tensor:
        on, off, present, absent = measured.sum(0)
        inside, outside = 1.0 / present.clamp_min(1.0), 1.0 / absent.clamp_min(1.0)
        if weights:
            inside, outside = on.new_tensor(weights), torch.ones_like(on)
        if exclusive:
            return (inside * on).sum() / (inside * present).sum().clamp_min(FLOOR)
        return ((inside * on + outside * off) / (inside * present + outside * absent).clamp_min(FLOOR)).mean()

    return Term(lambda voxels: voxels.by_head(voxels.entropy), judge)


def focal(*, gamma: float) -> Term:
    """Mean cross-entropy times ``(1 - probability of the truth) ** gamma``."""

    def measure(voxels: Voxels) -> Tensor:
        return voxels.sums((-torch.expm1(-voxels.entropy) + SHIFT) ** gamma * voxels.entropy)

    return Term(measure, mean)


def top_k(*, share: float) -> Term:
    """Mean cross-entropy of the ``share`` of the batch's voxels that have the largest.

    Which voxels these are only the whole batch tells: the measure is as large as a map of one head, or of each region.
    """

    def measure(voxels: Voxels) -> Tensor:
        entropy = voxels.entropy
        return entropy if voxels.counted is None else torch.where(voxels.counted, entropy, IGNORED)

    def judge(measured: Tensor) -> Tensor:
        values = measured.flatten().topk(max(1, int(share * measured.numel()))).values
        hardest = (share * (measured != IGNORED).sum(dtype=torch.float64)).floor().clamp_min(1.0)
        among = torch.arange(len(values), device=values.device) < hardest  # a GPU need not tell how many count
        return torch.where(among, values.clamp_min(0.0), 0.0).sum() / hardest.float()

    return Term(measure, judge, additive=False)


def exponential_entropy(*, gamma: float, exclusive: bool) -> Term:
    """Mean of ``weight * cross-entropy ** gamma``; the weight of a label is ``(all voxels / its voxels) ** 0.5``."""

    def judge(measured: Tensor) -> Tensor:
        on, off, present, absent = measured.sum(0)
        counted = present + absent
        inside, outside = (counted / present.clamp_min(1.0)).sqrt(), (counted / absent.clamp_min(1.0)).sqrt()
        total = (inside * on).sum() if exclusive else (inside * on + outside * off).mean()
        return total / counted.amax().clamp_min(1.0)

    return Term(lambda voxels: voxels.by_head(_power(voxels.entropy, gamma)), judge)


def mean(measured: Tensor) -> Tensor:
    """Of sums and numbers of voxels; zero when no voxel counts."""
    total, count = measured.sum(0)
    return total / count.clamp_min(1.0)


def _foreground(voxels: Voxels) -> Tensor:
    return voxels.overlap(voxels.foreground)


def _volumes(measured: Tensor, batch: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Common, predicted and present volumes (patches, heads); ``batch``: of all patches as one."""
    common, predicted, present = (measured.sum(0, keepdim=True) if batch else measured).unbind(1)
    return common, predicted, present


def _dice(common: Tensor, predicted: Tensor, present: Tensor, smooth: float) -> Tensor:
    return (2.0 * common + smooth) / (predicted + present + smooth).clamp_min(FLOOR)


def _power(values: Tensor, gamma: float) -> Tensor:
    """``values ** gamma`` with a finite slope at 0."""
    floor: float = SHIFT**gamma
    return (values.clamp_min(0.0) + SHIFT) ** gamma - floor
