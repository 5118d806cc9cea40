"""Every ensemble of what was trained, scored on kept probabilities of cases that the networks had not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from ..core.geometry import Geometry
from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.staple import Staple, decision_type
from ..data.dataset import LabelFiles
from ..data.label_maps import read_label_map
from ..errors import ModelError
from ..evaluation.counts import overlaps
from ..evaluation.pool import WHOLE, Pool
from ..inference.stored_probabilities import StoredProbabilities, open_stored
from ..preprocessing.spatial import not_resampled
from .vote_table import VoteTable, decided_by, indices_of, votes_of

Members = tuple[str, ...]
"""Configurations whose probabilities are averaged."""


@dataclass(frozen=True)
class Unseen:
    """A case with what every configuration says about it, each by the network of a fold that had not seen it."""

    key: str
    fold: int
    patient: str
    """Whose it is; the case itself where nobody has named patients."""
    reference: LabelFiles
    kept: Mapping[str, Path]
    """By configuration: of all that have the channels which they need."""
    absent: tuple[int, ...] = ()
    """Channels that it lacks, counted from 0."""

    def seen_by(self, members: Sequence[str]) -> Members:
        """Those of the configurations that see the case."""
        return tuple(name for name in members if name in self.kept)

    def opened(self, members: Sequence[str]) -> list[StoredProbabilities]:
        """Raises ModelError when the configurations, all of which see it, did not see the same voxels."""
        found = [open_stored(self.kept[name]) for name in members]
        for name, case in zip(members, found):
            if (case.shape, case.geometry, case.before) != (found[0].shape, found[0].geometry, found[0].before):
                raise ModelError(
                    f"case {self.key}: {name} and {members[0]} did not predict the same voxels, so the case has "
                    "changed between their trainings; train one of them again"
                )
        return found


def ensembles(configurations: Sequence[str]) -> list[Members]:
    """Every choice of configurations, single ones first."""
    return [members for size in range(len(configurations)) for members in combinations(configurations, size + 1)]


def overlaps_of(
    cases: Sequence[Unseen],
    tried: Sequence[Members],
    labels: Labels,
    workers: int,
    pool: Pool | None = None,
    stapled: Sequence[Members] = (),
) -> np.ndarray:
    """Overlaps (models, cases, labels, 3) of the ensembles ``tried``, which average, of those that are ``stapled``, and
    last of ``pool``, if any, each case with the weights that were learned without it.

    In every case a model is what sees the case of its members, which must be one at least.
    """
    work = partial(_overlaps_of, tried=tried, labels=labels, pool=pool, stapled=stapled)
    count = len(tried) + len(stapled) + (pool is not None)
    found = progress(ordered_map(work, cases, workers), len(cases), f"comparing {count} models")
    return np.stack(list(found), axis=1)


def _overlaps_of(
    case: Unseen, *, tried: Sequence[Members], labels: Labels, pool: Pool | None, stapled: Sequence[Members]
) -> np.ndarray:
    """Where all configurations agree, so does every ensemble of them: only the other voxels are tried one by one.

    Not so with weights that differ between labels. STAPLE asks what all voxels say, but not where they lie.
    """
    names = case.seen_by(sorted({name for members in tried for name in members}))
    kept = dict(zip(names, case.opened(names)))
    first = kept[names[0]]
    reference = reference_of(case, first.geometry, labels)
    if reference.shape != first.geometry.shape:
        raise ModelError(f"case {case.key}: its labels have changed since training; plan and train again")
    inner = first.before.apply(reference, not_resampled)
    cropped = overlaps(np.zeros_like(reference), reference, labels) - overlaps(np.zeros_like(inner), inner, labels)
    found = np.stack([cropped] * (len(tried) + len(stapled) + (pool is not None)))
    votes = VoteTable(names, labels) if stapled else None
    for rows in slabs_of(first):
        there = torch.from_numpy(np.ascontiguousarray(inner[rows])).reshape(-1)
        codes = {name: each.read(rows).flatten(1) for name, each in kept.items()}
        alone = {name: decided(code, first.one, labels) for name, code in codes.items()}
        differ = _differ(list(codes.values()), list(alone.values()), first.one, labels)
        agreed = overlaps(alone[names[0]][~differ].numpy(), there[~differ].numpy(), labels)
        if votes is not None:
            votes.add(np.stack([votes_of(code, first.one, labels) for code in codes.values()]), there.numpy())
        if pool is not None:
            members = case.seen_by(pool.members)
            decision = _together(codes, members, first.one, labels, pool.shares_without(case.key, members))
            found[-1] += overlaps(decision.numpy(), there.numpy(), labels)
        codes, there = {name: code[:, differ] for name, code in codes.items()}, there[differ]
        for number, members in enumerate(map(case.seen_by, tried)):
            decision = alone[members[0]][differ] if len(members) == 1 else _together(codes, members, first.one, labels)
            found[number] += agreed + overlaps(decision.numpy(), there.numpy(), labels)
    for number, members in enumerate(map(case.seen_by, stapled), len(tried)):
        assert votes is not None
        found[number] += votes.overlaps(members)
    return found


def unlike_voxels(case: Unseen, names: Sequence[str], labels: Labels) -> tuple[np.ndarray, np.ndarray, int]:
    """Codes (configurations, heads, voxels) of the annotated voxels about which the configurations differ, their label
    indices (voxels,), and the code of certainty."""
    kept = case.opened(names)
    inner = kept[0].before.apply(reference_of(case, kept[0].geometry, labels), not_resampled)
    codes, truth = [], []
    for rows in slabs_of(kept[0]):
        there = np.ascontiguousarray(inner[rows]).reshape(-1)
        every = torch.stack([each.read(rows).flatten(1).to(torch.int32) for each in kept]).numpy()
        unlike = (every != every[0]).any((0, 1)) & (
            there != (-1 if labels.ignore_index is None else labels.ignore_index)
        )
        codes.append(every[..., unlike])
        truth.append(there[unlike])
    return np.concatenate(codes, -1), np.concatenate(truth), kept[0].one


def label_map(
    case: Unseen, members: Members, labels: Labels, pool: Pool | None = None, staple: bool = False
) -> np.ndarray:
    """What the ensemble predicts, (z, y, x) of the user's values, on the file's grid; with ``pool``, the weights that
    were learned without the case; with ``staple``, by STAPLE instead of a mean."""
    members = case.seen_by(members)
    kept = case.opened(members)
    indices = np.zeros(kept[0].geometry.shape, np.uint8 if len(labels.values) < 256 else np.uint16)
    inner = kept[0].before.apply(indices, not_resampled)  # a view
    shares = None if pool is None else pool.shares_without(case.key, members)
    if staple and len(members) > 1:
        inner[...] = _stapled(kept, labels)
        return _values(labels)[indices]
    for rows in slabs_of(kept[0]):
        codes = {name: each.read(rows) for name, each in zip(members, kept)}
        inner[rows] = _together(codes, members, kept[0].one, labels, shares).numpy()
    return _values(labels)[indices]


def reference_of(case: Unseen, geometry: Geometry, labels: Labels) -> np.ndarray:
    """The reference as label indices, (z, y, x) on the file's grid, ``geometry``."""
    return labels.encode(read_label_map(case.reference, labels, geometry)[0])


def decided(codes: torch.Tensor, one: int, labels: Labels) -> torch.Tensor:
    """Label indices (...) from the codes (heads, ...) of probabilities, ``one`` being certainty."""
    return indices_of(labels.winners(codes.to(torch.int32) - one // 2, 0), labels)  # above one half a region is on


def _stapled(kept: Sequence[StoredProbabilities], labels: Labels) -> np.ndarray:
    """Label indices (z, y, x)."""
    whole = (len(kept), *kept[0].shape[1:])
    votes = np.empty(whole, decision_type(labels.heads, labels.exclusive))
    staple = Staple(len(kept), labels.heads, labels.exclusive)
    for rows in slabs_of(kept[0]):
        votes[:, rows] = np.stack([votes_of(each.read(rows), each.one, labels) for each in kept])
        staple.add(votes[:, rows].reshape(len(kept), -1))
    staple.estimate()
    found = np.empty(whole[1:], np.int64)
    for rows in slabs_of(kept[0]):
        chances = staple.chances(votes[:, rows].reshape(len(kept), -1))
        found[rows] = decided_by(chances, labels).reshape(found[rows].shape)
    return found


def _together(
    codes: Mapping[str, torch.Tensor], members: Members, one: int, labels: Labels, shares: np.ndarray | None = None
) -> torch.Tensor:
    """Label indices (...), see ``summed``."""
    return decided(*summed(codes, members, one, shares), labels)


def summed(
    codes: Mapping[str, torch.Tensor], members: Members, one: int, shares: np.ndarray | None = None
) -> tuple[torch.Tensor, int]:
    """Codes (heads, ...) of the members added up, and what certainty is there.

    ``shares`` (members, heads) are weights in parts of ``WHOLE``; None: all weigh the same.
    """
    if shares is None:
        total = sum(codes[name].to(torch.int32) for name in members)
    else:
        of_heads = torch.from_numpy(shares).to(torch.int32)
        total = sum(
            codes[name].to(torch.int32) * share.view(-1, *(1,) * (codes[name].dim() - 1))
            for name, share in zip(members, of_heads)
        )
    assert isinstance(total, torch.Tensor)
    return total, one * (len(members) if shares is None else WHOLE)


def _differ(codes: Sequence[torch.Tensor], alone: Sequence[torch.Tensor], one: int, labels: Labels) -> torch.Tensor:
    """Voxels (n,) about which not all configurations decide every head alike."""
    decisions = [code > one // 2 for code in codes] if not labels.exclusive else list(alone)
    differ = torch.zeros(alone[0].shape, dtype=torch.bool)
    for other in decisions[1:]:
        unlike = other != decisions[0]
        differ |= unlike.any(0) if unlike.dim() > 1 else unlike
    return differ


def _values(labels: Labels) -> np.ndarray:
    values = np.array(labels.values)
    return values.astype(np.min_scalar_type(values.max()) if values.min() >= 0 else np.int64)


def slabs_of(case: StoredProbabilities) -> list[slice]:
    return [slice(start, start + case.thickness) for start in range(0, case.shape[1], case.thickness)]
