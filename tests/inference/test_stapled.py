"""STAPLE of the configurations of an ensemble: what ITK's filter makes of the label maps that each predicts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from run_settings import SETTINGS
from small_models import EXCLUSIVE, GEOMETRY, REGIONS, bundle, image, plan_of

from autoseg.core.fusion import STAPLE
from autoseg.core.labels import Labels
from autoseg.core.masks import MaskLabels
from autoseg.core.staple import Staple
from autoseg.errors import RecordError
from autoseg.inference import resampled, stapled
from autoseg.inference.accumulator import Space
from autoseg.inference.ensemble import Ensemble
from autoseg.inference.memory import NOTHING
from autoseg.inference.model import Model
from autoseg.plan import Plan

pytestmark = pytest.mark.slow

MASKS = MaskLabels(("a", "b"))


def raters(small_plan: Plan, folder: Path, labels: Labels) -> Ensemble:
    """Four networks, each for itself: two folds of two configurations that see other grids."""
    plan = plan_of(small_plan, labels)
    path = bundle(folder / "model.zip", plan, {name: 0.5 for name in plan.configurations})
    found = [Model.read(path, [fold], settings=SETTINGS) for fold in "01"]
    members = tuple(member for ensemble in found if isinstance(ensemble, Ensemble) for member in ensemble.members)
    assert len(members) == 4
    return Ensemble(members, (0.25,) * 4, SETTINGS, combined=STAPLE)


def test_it_decides_as_itks_filter_of_what_each_predicts(small_plan: Plan, tmp_path: Path) -> None:
    ensemble, labels = raters(small_plan, tmp_path, EXCLUSIVE), EXCLUSIVE
    alone = [labels.encode(member.segment(image()).labels) for member in ensemble.members]
    inner = np.s_[1:, 2:]  # what is 0 around is cropped away, and nobody decides about it
    votes = [sitk.GetImageFromArray(np.ascontiguousarray(each[inner])) for each in alone]
    theirs = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(votes))
    found = labels.encode(ensemble.segment(image()).labels)
    sure = theirs < labels.heads
    assert sure.mean() > 0.9 and len(np.unique(theirs[sure])) > 1
    np.testing.assert_array_equal(found[inner][sure], theirs[sure])
    mean = labels.encode(replace(ensemble, combined="mean").segment(image()).labels)
    assert (found != mean).any()


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MASKS], ids=["exclusive", "regions", "masks"])
def test_slabs_and_files_change_nothing(
    small_plan: Plan, tmp_path: Path, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = raters(small_plan, tmp_path, labels)
    whole = ensemble.segment(image(), probabilities="float32", outputs=["uncertainty"])
    monkeypatch.setattr(resampled, "SLAB_BYTES", 1)
    made = []
    scratch = stapled.Scratch
    monkeypatch.setattr(stapled, "Scratch", lambda *of: made.append(of) or scratch(*of))
    parts = ensemble.decide(ensemble.prepare(image()), outputs=_outputs(), space=Space(0, tmp_path))
    assert len(made) == 1 and made[0][0] == (4, *_inner(ensemble))
    np.testing.assert_array_equal(whole.labels, parts.labels)
    for name in ("probabilities", "uncertainty"):
        np.testing.assert_allclose(whole.results[name].stored, parts.results[name].stored, atol=1e-5)


def _outputs() -> dict:
    from autoseg.inference.outputs import chosen

    return dict(chosen(["uncertainty"], "float32"))


def _inner(ensemble: Ensemble) -> tuple[int, int, int]:
    return ensemble.prepare(image()).record.split()[1].shape


@pytest.mark.parametrize("labels", [REGIONS, MASKS], ids=["regions", "masks"])
def test_heads_that_are_no_alternatives_are_estimated_each_by_itself(
    small_plan: Plan, tmp_path: Path, labels: Labels
) -> None:
    ensemble = raters(small_plan, tmp_path, labels)
    stored = [member.segment(image(), probabilities="float32").results["probabilities"] for member in ensemble.members]
    found = ensemble.segment(image(), probabilities="float32").results["probabilities"]
    for number, name in enumerate(labels.head_names):
        votes = [(each.stored[number] > 0.5)[1:, 2:].astype(np.uint8) for each in stored]
        theirs = sitk.GetArrayFromImage(sitk.STAPLE([sitk.GetImageFromArray(np.ascontiguousarray(v)) for v in votes]))
        np.testing.assert_allclose(found[name][1:, 2:], theirs, atol=1e-4)


def test_decisions_of_logits_are_those_of_label_maps() -> None:
    logits = torch.tensor([[0.5, 2.0, -1.0], [0.5, -2.0, 3.0]])
    assert stapled.decided(logits, EXCLUSIVE).tolist() == [1, 2]
    assert stapled.decided(logits[:, :2], REGIONS).tolist() == [3, 1]


def test_it_takes_a_byte_per_voxel_and_configuration_more(small_plan: Plan, tmp_path: Path) -> None:
    ensemble = raters(small_plan, tmp_path, EXCLUSIVE)
    plain = replace(ensemble, combined="mean")
    one, other = (each.need_of_networks(GEOMETRY) for each in (ensemble, plain))
    assert one.window - other.window == 4 * int(np.prod(GEOMETRY.shape)) and one.fixed > other.fixed
    assert plain.need_of_networks(GEOMETRY) != NOTHING


def test_a_bundle_says_it_and_of_one_network_there_is_none(small_plan: Plan, tmp_path: Path) -> None:
    plan = plan_of(small_plan, EXCLUSIVE)
    path = bundle(tmp_path / "model.zip", plan, {name: 0.5 for name in plan.configurations}, combined=STAPLE)
    model = Model.read(path, settings=SETTINGS)
    assert isinstance(model, Ensemble) and model.combined == STAPLE
    alone = [EXCLUSIVE.encode(member.segment(image()).labels)[1:, 2:] for member in model.members]
    votes = np.stack([each.reshape(-1) for each in alone])
    staple = Staple(2, EXCLUSIVE.heads, True)
    staple.add(votes)
    staple.estimate()
    found = EXCLUSIVE.encode(model.segment(image()).labels)[1:, 2:]
    np.testing.assert_array_equal(found.reshape(-1), staple.chances(votes).argmax(0))
    for wrong in ({"combined": "vote"}, {"combined": STAPLE, "ensemble": {"2d": 1.0}}):
        with pytest.raises((RecordError, ValueError), match="combined must be"):
            replace(model.trained.manifest, **wrong)
