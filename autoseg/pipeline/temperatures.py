"""Temperatures of the model that is selected, learned where the cross-validation has kept its probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..data.label_maps import read_label_map
from ..evaluation.calibration import Bins, binned, pooled
from ..evaluation.learn import parts
from ..evaluation.pool import Pool
from ..evaluation.resampling import patient_numbers
from ..evaluation.temperature import (
    GRID,
    Recalibration,
    held_out,
    learned,
    likelihood,
    likelihoods_of_exclusive,
    likelihoods_of_region,
    names_with,
)
from ..evaluation.temperature import ONE as UNCHANGED
from ..inference.stored_probabilities import mean_logits
from ..inference.temperature import calibrated
from ..preprocessing.spatial import not_resampled
from .calibrate import has_label
from .compare import Members, Unseen, slabs_of, summed

CODES = 255  # steps of the probabilities that are counted


@dataclass(frozen=True)
class Combined:
    """Probabilities of a model of several configurations, of any case."""

    members: Members
    labels: Labels
    pool: Pool | None
    """Each case with the weights that were learned without it; None: all weigh the same."""

    def slabs(self, case: Unseen) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Probabilities (heads, voxels), float32, and the user's values (voxels,) of annotated voxels."""
        members = case.seen_by(self.members)
        kept = dict(zip(members, case.opened(members)))
        first = kept[members[0]]
        values = read_label_map(case.reference, self.labels, first.geometry)[0]
        inner = first.before.apply(values, not_resampled)
        shares = None if self.pool is None else self.pool.shares_without(case.key, members)
        for rows in slabs_of(first):
            codes = {name: each.read(rows).flatten(1) for name, each in kept.items()}
            total, one = summed(codes, members, first.one, shares)
            there = np.ascontiguousarray(inner[rows]).reshape(-1)
            chances = (total / one).numpy()
            annotated = slice(None) if self.labels.ignore is None else there != self.labels.ignore
            yield chances[:, annotated], there[annotated]


def recalibration(cases: Sequence[Unseen], model: Combined, workers: int) -> Recalibration | None:
    """What temperatures all cases teach, and what those of the other folds do to each; None where nobody can be held
    out."""
    whose = patient_numbers([case.key for case in cases], {case.key: case.patient for case in cases})
    folds = parts(np.array([case.fold for case in cases]), whose)
    if len(np.unique(folds)) < 2:
        return None
    work = ordered_map(partial(_likelihoods, model=model), cases, workers)
    tables = np.stack(list(progress(work, len(cases), "learning temperatures")))
    names = model.labels.head_names
    own = held_out(tables, whose, folds)
    before, after = float(tables[..., UNCHANGED].sum()), likelihood(tables, own)
    taught = [names_with(row, names) for row in own]
    counted = list(ordered_map(lambda both: _bins(*both, model), list(zip(cases, taught)), workers))
    labels = list(model.labels.foreground)
    bins = [{name: pooled(case[when][name] for case in counted) for name in labels} for when in range(2)]
    return Recalibration(names_with(learned(tables, whose), names), after < before, before, after, *bins)


def _likelihoods(case: Unseen, *, model: Combined) -> np.ndarray:
    """(heads, GRID)."""
    labels = model.labels
    found = np.zeros((labels.heads, len(GRID)))
    for chances, values in model.slabs(case):
        if labels.exclusive:
            truth = labels.encode(values).astype(np.int64)
            found += likelihoods_of_exclusive(chances, truth, chances.argmax(0))
            continue
        for head, name in enumerate(labels.head_names):
            found[head] += likelihoods_of_region(chances[head], has_label(values, name, labels))
    return found


def _bins(case: Unseen, temperatures: Mapping[str, float], model: Combined) -> tuple[dict[str, Bins], dict[str, Bins]]:
    """Label to its voxels, as they are and with temperatures. Where a model is sure these change nothing."""
    labels = model.labels
    names = list(labels.foreground)
    background = labels.heads - len(names)
    counts = np.zeros((2, len(names), 2, CODES + 1))
    for chances, values in model.slabs(case):
        sure = ((chances == 0) | (chances == 1)).all(0)
        logits = mean_logits(torch.from_numpy(chances[:, ~sure]).T, labels)
        later = chances.copy()
        later[:, ~sure] = labels.probabilities(calibrated(logits, labels, temperatures)).T.numpy()
        for when, each in enumerate((chances, later)):
            codes = np.rint(each * CODES).astype(np.int64)
            for number, name in enumerate(names):
                code = codes[background + number]
                counts[when, number, 0] += np.bincount(code, minlength=CODES + 1)
                counts[when, number, 1] += np.bincount(code[has_label(values, name, labels)], minlength=CODES + 1)
    first, second = ({name: binned(*each) for name, each in zip(names, rows)} for rows in counts)
    return first, second
