"""Export equals resampling everything at once and deciding afterwards, whatever the slabs."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage.transform import resize
from tasks import decoded

from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.inference.outputs import OutputContext, Outputs, chosen
from autoseg.inference.outputs.probabilities import KINDS
from autoseg.inference.prediction import Prediction, write_outputs
from autoseg.inference.readout import Readout
from autoseg.inference.resampled import resampled_slabs
from autoseg.parts.resamplers import spline
from autoseg.plan import Plan
from autoseg.preprocessing.spatial import Resample, SpatialRecord, spatial_record

LABELS = ExclusiveLabels({"background": 0, "left": 205, "right": 420})
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, class_order=(1, 2))
RESAMPLER = spline.Spec()
TINY_SLAB = 1  # byte: one slice at a time


class Whole:
    """Logits that were computed already."""

    readout: Readout | None = None
    disagreement = None

    def __init__(self, logits: torch.Tensor) -> None:
        """``logits`` is (heads, z, y, x)."""
        self._logits = logits.movedim(0, -1)
        self.heads = len(logits)
        self.shape = tuple(logits.shape[1:])

    def read(self, start: int, stop: int) -> torch.Tensor:
        return self._logits[start:stop]


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Logits as smooth as a network's, so that ties do not decide the comparison."""
    coarse = np.random.default_rng(seed).normal(size=(shape[0], 3, 3, 3))
    return np.stack([resize(head, shape[1:], order=3) for head in coarse]).astype(np.float32)


def resampling(
    shape: tuple[int, int, int], new: tuple[int, int, int], spacing=(1.0, 1.0, 1.0), new_spacing=(1.0, 1.0, 1.0)
) -> Resample:
    return Resample(shape, spacing, new, new_spacing)


def exported(
    plan: Plan, logits: torch.Tensor, record: SpatialRecord, geometry: Geometry, labels=LABELS, slab_bytes=1 << 26,
    outputs: Outputs | None = None, folder: Path | None = None,
) -> Prediction:  # fmt: skip
    slabs = resampled_slabs(Whole(logits), record.split()[1], RESAMPLER, slab_bytes)
    context = OutputContext(replace(plan, labels=labels).task(), geometry, record, folder=folder)
    return write_outputs(slabs, context, outputs or chosen())


def joined(logits: np.ndarray, step: Resample, resampler: spline.Spec, slab_bytes: int) -> np.ndarray:
    slabs = resampled_slabs(Whole(torch.from_numpy(logits)), step, resampler, slab_bytes)
    return np.concatenate([slab.values.movedim(-1, 0).numpy() for _, slab in slabs], axis=1)


@pytest.mark.parametrize("slab_bytes", [TINY_SLAB, 20_000, 1 << 30])
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("new_spacing", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0), (1.0, 1.0, 5.0)], ids=["iso", "z", "x"])
def test_slabs_join_to_what_is_resampled_at_once(slab_bytes, order, new_spacing):
    resampler = spline.Spec(order_logits=order)
    step = resampling((17, 20, 9), (8, 25, 12), new_spacing=new_spacing)
    logits = smooth((3, 8, 25, 12))
    whole = step.undo(logits, resampler.resample_logits)
    np.testing.assert_allclose(joined(logits, step, resampler, slab_bytes), whole, atol=1e-5)


def test_slabs_equal_scikit_image():
    logits = smooth((2, 10, 14, 12))
    expected = np.stack([resize(head, (15, 11, 23), order=1, mode="edge", anti_aliasing=False) for head in logits])
    found = joined(logits, resampling((15, 11, 23), (10, 14, 12)), RESAMPLER, TINY_SLAB)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.integers(4, 14)] * 3),
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([0.7, 1.0, 2.0])] * 3),
    st.sampled_from([LABELS, REGIONS]),
    st.data(),
)
def test_export_equals_undoing_every_step_and_deciding(small_plan, shape, order, target, labels, data):
    turned = [shape[axis] for axis in order]
    start = tuple(data.draw(st.integers(0, n - 2)) for n in turned)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, turned))
    record = spatial_record(shape, (1.0, 1.0, 1.0), tuple(order), Box(start, stop), target)
    logits = smooth((labels.heads, *record.split()[1].new_shape))
    geometry = Geometry.plain(shape, (1.0, 1.0, 1.0))
    before, step = record.split()
    whole = decoded(labels, step.undo(logits, RESAMPLER.resample_logits))
    expected = before.undo(whole, RESAMPLER.resample_labels, fill=0)
    found = exported(small_plan, torch.from_numpy(logits), record, geometry, labels, TINY_SLAB)
    assert found.labels.shape == shape
    assert (found.labels != expected).mean() < 0.02  # float32 rounding may decide a tie the other way


def plain_record(shape: tuple[int, int, int], box: Box | None = None) -> SpatialRecord:
    return spatial_record(shape, (1.0, 1.0, 1.0), (0, 1, 2), box or Box.whole(shape), (1.0, 1.0, 1.0))


def test_what_was_cropped_away_is_the_users_background(small_plan):
    labels = ExclusiveLabels({"background": 3, "organ": 9})
    record = plain_record((4, 5, 6), Box((1, 1, 1), (3, 4, 5)))
    logits = torch.zeros(2, 2, 3, 4)
    logits[1] = 1
    found = exported(small_plan, logits, record, Geometry.plain((4, 5, 6), (1.0,) * 3), labels).labels
    assert (found[1:3, 1:4, 1:5] == 9).all() and (found == 9).sum() == 24 and (found == 3).sum() == 120 - 24


@pytest.mark.parametrize("labels", [LABELS, REGIONS], ids=["exclusive", "regions"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("on_disk", [False, True])
def test_probabilities_agree_with_the_label_map(small_plan, labels, kind, on_disk, tmp_path):
    record = plain_record((6, 7, 8), Box((0, 1, 0), (6, 7, 7)))
    logits = torch.from_numpy(smooth((labels.heads, 6, 6, 7)))
    geometry = Geometry.plain((6, 7, 8), (1.0,) * 3)
    found = exported(
        small_plan, logits, record, geometry, labels, TINY_SLAB,
        outputs=chosen(probabilities=kind), folder=tmp_path if on_disk else None,
    )  # fmt: skip
    chances = found.results["probabilities"]
    assert (chances.scratch is not None) == on_disk
    assert chances.stored.dtype == kind and chances.stored.shape == (labels.heads, 6, 7, 8)
    certain = chances.values.clip(1e-6, 1 - 1e-6)
    disagree = decoded(labels, np.log(certain / (1 - certain))) != found.labels
    assert disagree.mean() <= (0.03 if kind == "uint8" else 0)  # two heads may round to the same eight bits
    if labels is LABELS:
        np.testing.assert_allclose(certain.sum(0), 1, atol=0.01 if kind == "uint8" else 1e-4)


def test_label_values_above_255_survive(small_plan):
    logits = torch.zeros(3, 2, 2, 2)
    logits[2] = 1
    found = exported(small_plan, logits, plain_record((2, 2, 2)), Geometry.plain((2, 2, 2), (1.0,) * 3))
    assert np.unique(found.labels).tolist() == [420]


def test_a_slab_never_holds_all_slices_when_the_budget_is_small():
    step = resampling((40, 32, 32), (20, 16, 16))
    slabs = resampled_slabs(Whole(torch.zeros(4, 20, 16, 16)), step, RESAMPLER, 1 << 18)
    sizes = [len(slab.values) for _, slab in slabs]
    assert sum(sizes) == 40 and max(sizes) == (1 << 18) // (4 * 4 * (16 * 16 + 32 * 32))


def test_slices_are_read_once_and_front_to_back():
    class Recorded(Whole):
        def read(self, start: int, stop: int) -> torch.Tensor:
            ranges.append((start, stop))
            return super().read(start, stop)

    ranges: list[tuple[int, int]] = []
    logits = Recorded(torch.zeros(2, 20, 16, 16))
    for _ in resampled_slabs(logits, resampling((40, 32, 32), (20, 16, 16)), RESAMPLER, TINY_SLAB):
        pass
    assert ranges[0][0] == 0 and ranges[-1][1] == 20
    assert all(before[0] <= after[0] and after[0] <= before[1] for before, after in pairwise(ranges))
    assert max(stop - start for start, stop in ranges) == 2  # a linear interpolation lies between two slices


def test_the_resampler_of_the_plan_decides():
    step = resampling((4, 4, 4), (2, 2, 2))
    nearest = joined(smooth((1, 2, 2, 2)), step, replace(RESAMPLER, order_logits=0), 1 << 20)
    assert len(np.unique(nearest)) <= 8
