"""Weights per label for what was trained, learned on kept probabilities of cases that the networks had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress

import numpy as np

from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.seeds import generator
from ..evaluation.learn import parts
from ..evaluation.pool import LEAST, Pool, pool_weights, whole_shares
from ..evaluation.resampling import patient_numbers
from .compare import Unseen, unlike_voxels

MOST_NUMBERS = 1 << 26  # probabilities that are learned from: half a gigabyte
MOST_VOXELS = 1 << 13  # of a case


@dataclass(frozen=True)
class _Sample:
    """Some of the voxels of a case about which the configurations differ."""

    chances: np.ndarray
    """(members, heads, voxels)"""
    truth: np.ndarray
    """(heads, voxels)"""


def learned_pool(cases: Sequence[Unseen], names: Sequence[str], labels: Labels, workers: int) -> Pool | None:
    """None where one configuration is best for every label, or nothing can be held out.

    Every case counts as much as any other that all configurations see; the others teach nothing. Voxels about which all
    agree say nothing about their weights.
    """
    keys = [case.key for case in cases]
    patients = patient_numbers(keys, {case.key: case.patient for case in cases})
    folds = parts(np.array([case.fold for case in cases]), patients)
    teach = np.array([len(case.kept) == len(names) for case in cases], bool)
    if len(names) < 2 or len(np.unique(folds[teach])) < 2:
        return None
    fold_of, cases, folds = dict(zip(keys, folds.tolist())), list(compress(cases, teach)), folds[teach]
    most = min(MOST_VOXELS, MOST_NUMBERS // (len(names) * labels.heads * len(cases)))
    work = partial(_sampled, names=names, labels=labels, most=max(1, most))
    samples = list(progress(ordered_map(work, cases, workers), len(cases), "weighing " + ", ".join(names)))
    everything = _weights(samples)
    kept = [number for number, row in enumerate(everything) if row.max() >= LEAST]
    if len(kept) < 2:
        return None
    samples = [_Sample(sample.chances[kept], sample.truth) for sample in samples]
    taught = {
        fold: whole_shares(_weights([each for each, own in zip(samples, folds) if own != fold]))
        for fold in {*fold_of.values()}
    }
    without = {key: taught[fold] for key, fold in fold_of.items()}
    return Pool(tuple(names[number] for number in kept), whole_shares(_weights(samples)), without)


def _sampled(case: Unseen, *, names: Sequence[str], labels: Labels, most: int) -> _Sample:
    codes, truth, one = unlike_voxels(case, names, labels)
    if codes.shape[-1] > most:
        chosen = np.sort(generator(0, "pool", case.key).permutation(codes.shape[-1])[:most])
        codes, truth = codes[..., chosen], truth[chosen]
    return _Sample(codes.astype(np.float32) / one, labels.index_table[:, truth])


def _weights(samples: Sequence[_Sample]) -> np.ndarray:
    """All alike where there is not a voxel about which the configurations differ."""
    there = [sample for sample in samples if sample.truth.size]
    if not there:
        members, heads = samples[0].chances.shape[:2]
        return np.full((members, heads), 1 / members)
    counts = [np.full(sample.truth.shape[1], 1 / sample.truth.shape[1]) for sample in there]
    chances, truth = ([getattr(sample, name) for sample in there] for name in ("chances", "truth"))
    return pool_weights(np.concatenate(chances, -1), np.concatenate(truth, -1), np.concatenate(counts))
