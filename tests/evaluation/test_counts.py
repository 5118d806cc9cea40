"""Dice from counts is the Dice of the masks, whatever the labels, empty ones and ignored voxels included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.evaluation.counts import dice, named, overall, overlaps, per_case
from autoseg.evaluation.scores import score_case, summarise
from autoseg.parts.metrics import overlap

LABELS = [
    ExclusiveLabels({"background": 0, "a": 3, "b": 1}),
    ExclusiveLabels({"background": 0, "a": 1, "b": 2}, ignore=9),
    RegionLabels({"whole": (1, 2, 3), "core": (2, 3)}, (1, 2)),
    RegionLabels({"all": (0, 1), "one": (1,)}, (0, 1), ignore=7),
    MaskLabels(("a", "b", "c")),
    MaskLabels(tuple(f"rib-{number}" for number in range(10))),
]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(LABELS), st.integers(0, 2**32), st.sampled_from([2, 20, 300]), st.integers(1, 4))
def test_counts_give_what_the_masks_give(labels: Labels, seed: int, voxels: int, cases: int) -> None:
    random = np.random.default_rng(seed)
    geometry = Geometry.plain((1, 1, voxels), (1.0, 1.0, 1.0))
    allowed = [*labels.values, *(() if labels.ignore is None else (labels.ignore,))]
    scored, counts = {}, []
    for case in range(cases):
        reference = random.choice(random.permutation(allowed)[: random.integers(1, len(allowed) + 1)], (1, 1, voxels))
        prediction = random.choice(labels.values, (1, 1, voxels))
        scored[str(case)] = score_case(reference, prediction, labels, geometry, [overlap.Spec()])
        counts.append(overlaps(labels.encode(prediction), labels.encode(reference), labels))
    scores = dice(np.stack(counts), labels)
    expected = [[row[name]["dice"] for name in labels.foreground] for row in scored.values()]
    np.testing.assert_allclose(scores, expected)
    summary = summarise(scored)
    mean = summary.overall["dice"].mean
    assert overall(scores) == pytest.approx(np.nan if mean is None else mean, nan_ok=True)
    again = summarise(named(scores, list(scored), labels))
    assert again.overall["dice"].mean == pytest.approx(mean)


def test_a_case_counts_with_the_labels_that_it_has() -> None:
    scores = np.array([[0.2, np.nan], [0.4, 0.8], [np.nan, np.nan]])
    np.testing.assert_allclose(per_case(scores), [0.2, 0.6, np.nan])
    assert overall(scores) == pytest.approx(0.55)  # of 0.3 and 0.8
