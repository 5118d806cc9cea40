"""Several configurations predict together what the mean of their probabilities says, in the file's voxels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from run_settings import SETTINGS
from small_models import EXCLUSIVE, GEOMETRY, REGIONS, bundle, image, plan_of
from tasks import decoded

from autoseg.bundle.manifest import Manifest, MirroringTest
from autoseg.core.estimate import Estimate
from autoseg.core.masks import MaskLabels
from autoseg.corrections import Correction
from autoseg.data.dataset import Case
from autoseg.errors import ModelError
from autoseg.inference import resampled
from autoseg.inference.ensemble import Ensemble, in_step
from autoseg.inference.model import Model
from autoseg.inference.outputs import chosen
from autoseg.inference.readout import Slab
from autoseg.inference.stored_probabilities import mean_logits, open_stored
from autoseg.parts.postprocessors import minimum_size
from autoseg.plan import Plan


def alone(path: Path, tmp_path: Path, plan: Plan) -> dict[str, np.ndarray]:
    """Probabilities of every member by itself."""
    found = {}
    for name in plan.configurations:
        model = Model.read(bundle(tmp_path / f"{path.name}_{name}", plan, {name: 1.0}), settings=SETTINGS)
        found[name] = model.segment(image(), probabilities="float32").results["probabilities"].stored
    return found


@pytest.mark.slow
@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
@pytest.mark.parametrize("slab_bytes", [1, 1 << 26])
def test_the_mean_of_the_probabilities_decides(small_plan, tmp_path, monkeypatch, labels, slab_bytes):
    plan = plan_of(small_plan, labels)
    chances = alone(tmp_path / "model", tmp_path, plan)
    shares = {"3d_fullres": 0.75, "2d": 0.25}
    expected = sum(share * chances[name].astype(np.float64) for name, share in shares.items())
    path = bundle(tmp_path / "model", plan, shares)
    monkeypatch.setattr(resampled, "SLAB_BYTES", slab_bytes)
    together = Model.read(path, settings=SETTINGS)
    assert isinstance(together, Ensemble) and together.weights == (0.75, 0.25)
    found = together.segment(image(), probabilities="float32")
    np.testing.assert_allclose(found.results["probabilities"].stored, expected, atol=1e-6)
    decided = decoded(labels, mean_logits(torch.from_numpy(expected), labels).numpy())
    assert len(np.unique(decided)) == len(labels.values)
    assert (found.labels != decided).mean() < 0.001  # rounding may decide a tie the other way
    each = [decoded(labels, mean_logits(torch.from_numpy(one), labels).numpy()) for one in chances.values()]
    assert all((found.labels != one).mean() > 0.01 for one in each)


@pytest.mark.parametrize("labels", [REGIONS, MaskLabels(("whole", "core"))], ids=["regions", "masks"])
@pytest.mark.parametrize("parts", [(116, 508, 132, 141, 103), (100,) * 10])
def test_what_all_are_sure_of_stays_sure_although_weights_are_rounded(parts, labels):
    """In float32 these weights sum to more than 1."""
    weights = tuple(part / 1000 for part in parts)
    member = SimpleNamespace(task=SimpleNamespace(labels=labels))
    for of_heads in ((), tuple((weight,) * labels.heads for weight in weights)):
        together = Ensemble((member,) * len(parts), weights, SETTINGS, of_heads=of_heads)
        slab = Slab(torch.tensor([[[[99.0, -99.0]]]]))
        logits = together._mean([slab] * len(parts)).values
        assert (logits[..., 0] > 0).all() and (logits[..., 1] < 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
def test_each_label_may_have_its_own_weights(small_plan, tmp_path, labels):
    plan = plan_of(small_plan, labels)
    chances = alone(tmp_path / "model", tmp_path, plan)
    deep = (0.9, 0.2, 0.5)[-labels.heads :]
    of_heads = {"3d_fullres": deep, "2d": tuple(1 - weight for weight in deep)}
    shares = {name: sum(weights) / len(weights) for name, weights in of_heads.items()}
    together = Model.read(bundle(tmp_path / "model", plan, shares, label_weights=of_heads), settings=SETTINGS)
    found = together.segment(image(), probabilities="float32")
    total = sum(np.array(of_heads[name]).reshape(-1, 1, 1, 1) * chances[name].astype(np.float64) for name in of_heads)
    decided = decoded(labels, mean_logits(torch.from_numpy(total), labels).numpy())
    assert (found.labels != decided).mean() < 0.001
    expected = total / total.sum(0) if labels.exclusive else total
    np.testing.assert_allclose(found.results["probabilities"].stored, expected, atol=1e-6)
    alike = Model.read(bundle(tmp_path / "alike", plan, shares), settings=SETTINGS).segment(image()).labels
    assert (found.labels != alike).mean() > 0.001
    disagreed = together.segment(image(), outputs=["uncertainty"]).results["uncertainty"]["disagreement"]
    assert np.isfinite(disagreed).all()


def test_weights_for_other_labels_than_the_plans_are_refused(small_plan, tmp_path):
    path = bundle(
        tmp_path / "m",
        plan_of(small_plan, EXCLUSIVE),
        {"2d": 0.5, "3d_fullres": 0.5},
        label_weights={"2d": (0.5, 0.5), "3d_fullres": (0.5, 0.5)},
    )
    with pytest.raises(ModelError, match="label_weights has weights for 2 labels, the plan has 3"):
        Model.read(path, settings=SETTINGS)


@pytest.mark.parametrize(
    "weights",
    [
        {"2d": (0.5, 0.5)},
        {"2d": (0.5, 0.5), "other": (0.5, 0.5)},
        {"2d": (0.5, 0.5), "3d_fullres": (0.5,)},
        {"2d": (), "3d_fullres": ()},
        {"2d": (0.5, 1.5), "3d_fullres": (0.5, -0.5)},
        {"2d": (0.5, 0.5), "3d_fullres": (0.5, 0.4)},
        {"2d": (0.5, float("nan")), "3d_fullres": (0.5, 0.5)},
    ],
)
def test_weights_of_labels_that_cannot_be_are_refused(weights):
    folds = {"2d": ("0",), "3d_fullres": ("0",)}
    with pytest.raises(ValueError, match="label_weights must"):
        Manifest("m", folds, {"2d": 0.5, "3d_fullres": 0.5}, label_weights=weights)


def test_an_ensemble_predicts_the_same_kind_of_image(small_plan, tmp_path):
    model = Model.read(
        bundle(tmp_path / "m.zip", plan_of(small_plan, EXCLUSIVE), {"2d": 0.5, "3d_fullres": 0.5}), settings=SETTINGS
    )
    assert model.predict(image().array, spacing=GEOMETRY.spacing).shape == GEOMETRY.shape
    with pytest.raises(ModelError, match="2 channels, but the model was trained on 1"):
        model.predict(np.zeros((2, 9, 9, 9)), spacing=(1.0, 1.0, 1.0))


def test_folds_are_chosen_in_all_members(small_plan, tmp_path):
    path = bundle(tmp_path / "model", plan_of(small_plan, EXCLUSIVE), {"2d": 0.5, "3d_fullres": 0.5})
    model = Model.read(path, ["1"], settings=SETTINGS)
    assert [member.folds for member in model.members] == [("1",), ("1",)]


def test_every_member_mirrors_where_it_pays(small_plan, tmp_path):
    none = Estimate(None, None, None, 0)
    tests = {"2d": MirroringTest(False, none, none, none, None, 4)}
    path = bundle(tmp_path / "m", plan_of(small_plan, EXCLUSIVE), {"2d": 0.5, "3d_fullres": 0.5}, mirroring=tests)
    assert [member.mirroring_pays for member in Model.read(path, settings=SETTINGS).members] == [False, None]


@pytest.mark.slow
def test_label_maps_are_corrected_and_probabilities_are_not(small_plan, tmp_path):
    plan = plan_of(small_plan, EXCLUSIVE)
    steps = (Correction(None, minimum_size.Spec(1e9)),)
    for ensemble in ({"2d": 1.0}, {"2d": 0.5, "3d_fullres": 0.5}):
        names = "-".join(ensemble)
        plain = Model.read(bundle(tmp_path / f"{names}-plain", plan, ensemble), settings=SETTINGS)
        path = bundle(tmp_path / f"{names}-corrected", plan, ensemble, postprocessing=steps)
        before = plain.segment(image(), probabilities="float32")
        after = Model.read(path, settings=SETTINGS).segment(image(), probabilities="float32")
        np.testing.assert_array_equal(after.results["probabilities"].stored, before.results["probabilities"].stored)
        assert (before.labels != 4).any() and (after.labels == 4).all()


@pytest.mark.slow
def test_probabilities_of_an_ensemble_are_kept_as_those_of_a_configuration_are(small_plan, tmp_path):
    path = bundle(tmp_path / "model", plan_of(small_plan, EXCLUSIVE), {"2d": 0.5, "3d_fullres": 0.5})
    model = Model.read(path, settings=SETTINGS)
    case, outputs = Case.of_files("case", (str(tmp_path / "image.nii.gz"),)), chosen(["stored_probabilities"])
    (tmp_path / "probabilities").mkdir()
    found = model.decide(model.prepare(image()), outputs=outputs, case=case, folder=tmp_path)
    kept = open_stored(tmp_path / "probabilities" / "case.b2nd")
    inside = kept.read(slice(0, kept.shape[1])).argmax(0).numpy()
    decided = np.array(EXCLUSIVE.values)[inside]
    expected = kept.before.apply(found.labels, lambda array, *_: array)
    np.testing.assert_array_equal(decided, expected)


def test_members_work_at_the_same_time_in_one_budget(small_plan, tmp_path):
    path = bundle(tmp_path / "model", plan_of(small_plan, EXCLUSIVE), {"2d": 0.5, "3d_fullres": 0.5})
    model = Model.read(path, settings=SETTINGS)
    needs = [member.need(GEOMETRY) for member in model.members]
    together = model.need(GEOMETRY)
    assert together.fixed == sum(need.fixed for need in needs)
    assert together.window == sum(need.window for need in needs)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.data())
def test_streams_are_walked_through_together(slices, data):
    values = torch.arange(3 * slices, dtype=torch.float32).reshape(3, slices, 1, 1, 1)
    streams = []
    for stream in values:
        cuts = sorted(data.draw(st.sets(st.integers(1, slices - 1) if slices > 1 else st.nothing())))
        edges = [0, *cuts, slices]
        streams.append(iter([(slice(a, b), stream[a:b]) for a, b in pairwise(edges)]))
    found = list(in_step(streams))
    assert [rows.start for rows, _ in found] == [0, *(rows.stop for rows, _ in found[:-1])]
    for number, stream in enumerate(values):
        torch.testing.assert_close(torch.cat([slabs[number] for _, slabs in found]), stream)
