"""How far an ensemble agrees with itself on cases that its networks had not seen, from the probabilities they left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..evaluation.pool import Pool
from ..evaluation.predicted_dice import learn
from ..evaluation.quality_table import Quality, QualityTable
from ..evaluation.scores import Summary
from ..evaluation.selection import Compared
from ..inference.outputs.agreement import AgreementSums
from ..plan import Plan
from ..workspace import DatasetFolder
from .compare import Members, Unseen, slabs_of, summed
from .model_quality import ModelQuality, ranges_in, seen
from .temperatures import Combined, recalibration


def selected_quality(
    files: DatasetFolder,
    plan: Plan,
    cases: Sequence[Unseen],
    chosen: Compared,
    pool: Pool | None,
    summary: Summary,
    workers: int,
) -> ModelQuality:
    """Of the model that was selected, whose scores of all ``cases`` are ``summary``.

    STAPLE, whose certainty is not that of networks, has no lines and no temperatures.
    """
    ranges = ranges_in(files, plan)
    if chosen.stapled:
        return ModelQuality({}, ranges)
    table = agreements(cases, chosen.members, plan.labels, pool, workers)
    found = recalibration(cases, Combined(chosen.members, plan.labels, pool), workers)
    return ModelQuality(learn(seen(table, summary)), ranges, found)


def agreements(
    cases: Sequence[Unseen], members: Members, labels: Labels, pool: Pool | None, workers: int
) -> QualityTable:
    """``pool``: each case with the weights that were learned without it; None: all weigh the same."""
    work = partial(_agreement, members=members, labels=labels, pool=pool)
    return dict(zip((case.key for case in cases), ordered_map(work, cases, workers)))


def _agreement(case: Unseen, *, members: Members, labels: Labels, pool: Pool | None) -> dict[str, Quality]:
    members = case.seen_by(members)
    kept = dict(zip(members, case.opened(members)))
    first = kept[members[0]]
    shares = None if pool is None else pool.shares_without(case.key, members)
    sums = AgreementSums(labels)
    for rows in slabs_of(first):
        codes = {name: each.read(rows).flatten(1) for name, each in kept.items()}
        total, one = summed(codes, members, first.one, shares)
        total = total[:, (total[int(labels.exclusive) :] > 0).any(0)]  # all else is background for sure
        sums.add((total / one).T, labels.winners(total - one // 2, 0))  # as ``compare.decided`` decides
    return {name: Quality(dice) for name, dice in sums.expected_dice().items()}
