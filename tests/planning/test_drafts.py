"""A draft decides what preparing needs, as every size of network on every machine will."""

from __future__ import annotations

import json

import pytest
from autoseg.planners import measured
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import from_json, to_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.errors import PlanningError
from autoseg.plan import Plan

Task = tuple[Dataset, Fingerprint]
SHAPES = st.tuples(st.integers(1, 300), st.integers(16, 600), st.integers(16, 600))
SPACINGS = st.tuples(*[st.floats(0.3, 8)] * 3)
CHANNELS = st.lists(st.sampled_from(["CT", "T1", "rescale_to_0_1", "nonorm"]), min_size=1, max_size=3)


def task(shape: tuple[int, ...], spacing: tuple[float, ...], channels: list[str], kept: float) -> Task:
    keys = [f"case_{index}" for index in range(20)]
    listed = tuple(Case.of_files(key, (f"/{key}.nii.gz",), f"/labels/{key}.nii.gz") for key in keys)
    labels = ExclusiveLabels({"background": 0, "a": 1, "b": 2})
    dataset = Dataset("Dataset001_Made", "/d", tuple(channels), labels, listed, ".nii.gz", "nnunet")
    case = CaseFingerprint(shape, spacing, shape, kept, "")
    intensities = (Intensities(0.0, 0.0, 1.0, -3.0, 3.0, -2.0, 2.0),) * len(channels)
    return dataset, Fingerprint(dict.fromkeys(keys, case), intensities)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(SHAPES, SPACINGS, CHANNELS, st.floats(0.1, 1.0))
@example((1, 467, 31), (0.375, 8.0, 0.5), ["CT"], 1.0)  # a coarser grid keeps one voxel along the thin axis
def test_every_network_needs_cases_prepared_as_in_the_draft(
    shape: tuple[int, ...], spacing: tuple[float, ...], channels: list[str], kept: float
) -> None:
    made = task(shape, spacing, channels, kept)
    try:
        draft = measured.PLANNER.draft(*made)
    except PlanningError:
        return
    assert draft.draft and draft.planner == "measured"
    for rung in measured.PLANNER.rungs:
        plan = rung.planner.plan(*made)
        assert (plan.axis_order, plan.orientation, plan.default) == (draft.axis_order, draft.orientation, draft.default)
        assert set(draft.configurations) == set(plan.configurations) & {"3d_fullres", "2d"}
        for name, configuration in draft.configurations.items():
            other = plan.configurations[name]
            assert configuration.cost is None
            assert (configuration.spacing, configuration.median_shape) == (other.spacing, other.median_shape)
            assert (configuration.normalizers, configuration.resampler) == (other.normalizers, other.resampler)


def test_a_draft_gives_reasons_for_what_it_decides_only() -> None:
    draft = measured.PLANNER.draft(*task((40, 200, 200), (3.0, 0.8, 0.8), ["T1"], 1.0))
    subjects = [reason.partition(":")[0] for reason in draft.reasons]
    assert subjects == ["draft", "axis order", "anisotropy", "channel T1"]
    for configuration in draft.configurations.values():
        assert [reason.partition(":")[0] for reason in configuration.reasons] == ["spacing"]


def test_a_draft_is_read_as_it_was_written_and_a_plan_from_before_there_were_any_is_none() -> None:
    draft = measured.PLANNER.draft(*task((40, 200, 200), (3.0, 0.8, 0.8), ["T1"], 1.0))
    record = json.loads(json.dumps(to_json(draft)))
    assert from_json(Plan, record) == draft
    del record["draft"]
    assert not from_json(Plan, record).draft


def test_images_too_small_for_any_network_get_no_draft() -> None:
    with pytest.raises(PlanningError, match="too small"):
        measured.PLANNER.draft(*task((1, 6, 6), (1.0, 1.0, 1.0), ["T1"], 1.0))
