"""`select` learns temperatures from what the cross-validation kept; `predict --calibrated` applies them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from cross_validated import NAME, SETTINGS, files, logits, reference
from scipy.optimize import minimize_scalar
from small_models import EXCLUSIVE, REGIONS, bundle, image, plan_of, predict, prepared

from autoseg.bundle.bundle import read_bundle
from autoseg.bundle.card import card
from autoseg.bundle.manifest import Manifest
from autoseg.cli import main
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.core.records import from_json, read_json, to_json
from autoseg.data.label_maps import write_label_map
from autoseg.errors import ModelError, UsageError
from autoseg.evaluation.calibration import expected_error
from autoseg.evaluation.selection import Selection, report
from autoseg.inference.model import Model
from autoseg.inference.options import PredictOptions
from autoseg.inference.stored_probabilities import storing
from autoseg.pipeline.compare import Unseen
from autoseg.pipeline.select import select
from autoseg.pipeline.temperatures import Combined, recalibration
from autoseg.plan import Plan
from autoseg.preprocessing.spatial import spatial_record
from autoseg.reporting.sections.selected_calibration import SECTION
from autoseg.reporting.source import open_source
from autoseg.workspace import DatasetFolder

__all__ = ["files"]


def likeliest_for_background() -> float:
    """Of voxels that are decided to be background, and not for sure, by a search on what was predicted."""
    values, organ = [], []
    for number in range(16):
        found = logits(number, 1)
        values.append((found[1] - found[0]).numpy())
        organ.append(np.transpose(reference(number) > 0, (2, 0, 1)))
    odds, belongs = np.stack(values), np.stack(organ)
    unsure = (odds < 0) & (odds > -np.log(509))
    signed = np.where(belongs, odds, -odds)[unsure]
    return minimize_scalar(lambda each: np.logaddexp(0, -signed / each).sum(), bounds=(0.2, 5), method="bounded").x


@pytest.mark.slow
def test_temperatures_are_learned_told_and_stored(files: DatasetFolder) -> None:
    """Where organ is decided, most voxels are background: so it gets the highest temperature that there is."""
    selection = select(files, configurations=["2d"], mirroring=False, settings=SETTINGS)
    assert selection.recalibration == read_json(files.selection / "selection.json", Selection).recalibration
    found = selection.recalibration
    assert found is not None and found.kept and found.nll_after < found.nll_before
    assert found.learned == {"background": pytest.approx(likeliest_for_background(), rel=0.02), "organ": 5.0}
    errors = [expected_error(bins["organ"], 1) for bins in (found.before, found.after)]
    assert errors[0] is not None and errors[1] is not None and errors[1] < errors[0]
    assert sum(found.before["organ"].voxels) == sum(found.after["organ"].voxels) == 16 * 10 * 12 * 11
    assert sum(found.before["organ"].hits) == sum((reference(number) > 0).sum() for number in range(16))
    bundle = read_bundle(files.selected)
    assert bundle.manifest.temperatures == found.learned
    assert "organ 5.00" in card(bundle) and "organ 5.00" in found.told()
    assert found.told() in report(selection) and "on held-out cases" in found.told()
    (table,) = SECTION.blocks(open_source(files))
    assert table.rows[0][:2] == ("organ", found.learned["organ"]) and "do not change" in table.note
    assert main(["report", NAME, "--workspace", str(files.root.parent)]) == 0
    assert "Calibration before and after temperatures" in (files.root / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_ensembles_are_learned_of_its_mean(files: DatasetFolder) -> None:
    both = select(files, mirroring=False, settings=SETTINGS)
    assert len(both.chosen.members) == 2 and both.recalibration is not None
    alone = select(files, configurations=["2d"], mirroring=False, settings=SETTINGS).recalibration
    assert alone is not None and alone.learned != both.recalibration.learned


def test_nothing_is_shown_where_nothing_was_learned(files: DatasetFolder) -> None:
    assert not SECTION.blocks(open_source(files))
    files.selection.mkdir(exist_ok=True)
    (files.selection / "selection.json").write_text("{", encoding="utf-8")
    source = open_source(files)
    assert not SECTION.blocks(source) and "selection.json" in source.damaged[0]
    (files.selection / "selection.json").unlink()
    said = from_json(Manifest, {key: value for key, value in to_json(a_manifest()).items() if key != "temperatures"})
    assert said.temperatures == {}  # a bundle of before


def a_manifest(**fields: object) -> Manifest:
    return Manifest("Small", {"2d": ("0",)}, {"2d": 1.0}, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, 1e300, 1e-300, 0.19, 5.1, float("nan"), float("inf")])
def test_other_temperatures_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"temperatures of 'organ' must be 0.2 to 5, found"):
        a_manifest(temperatures={"organ": value})


def test_temperatures_of_other_heads_are_refused(small_plan: Plan, tmp_path: Path) -> None:
    for number, ensemble in enumerate([{"2d": 1.0}, {"3d_fullres": 0.5, "2d": 0.5}]):
        plan, wrong = plan_of(small_plan, EXCLUSIVE), {"spleen": 2.0}
        made = bundle(tmp_path / f"{number}.zip", plan, ensemble, temperatures=wrong)
        with pytest.raises(ModelError, match=r"temperatures names .*spleen.*, which the plan does not"):
            Model.read(made)


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
def test_probabilities_and_entropy_are_calibrated_where_asked_and_nothing_else(
    small_plan: Plan, tmp_path: Path, labels: Labels
) -> None:
    given = dict.fromkeys(labels.head_names, 2.0)
    prepared(small_plan, labels, tmp_path, temperatures=given)
    model = Model.read(tmp_path / "model.zip", settings=replace(SETTINGS, threads=1))
    asked = {"outputs": ("uncertainty", "agreement"), "probabilities": "float32"}
    plain, soft = (model.segment(image(), PredictOptions("none", calibrated=each), **asked) for each in (False, True))
    np.testing.assert_array_equal(plain.labels, soft.labels)
    assert plain.results["agreement"] == soft.results["agreement"]
    one, other = (each.results["uncertainty"] for each in (plain, soft))
    np.testing.assert_array_equal(one["disagreement"], other["disagreement"])
    before, after = (torch.from_numpy(each.results["probabilities"].values) for each in (plain, soft))
    between = (before.amin(0) > 1 / 500) & (before.amax(0) < 1 - 1 / 500)
    assert between.sum() > 50
    roots = before.sqrt() if labels is EXCLUSIVE else torch.stack([before.sqrt(), (1 - before).sqrt()])
    expected = roots / roots.sum(0) if labels is EXCLUSIVE else roots[0] / roots.sum(0)
    torch.testing.assert_close(after[:, between], expected[:, between], atol=1e-4, rtol=1e-3)
    assert (other["entropy"] >= one["entropy"] - 2e-3).all() and other["entropy"].mean() > one["entropy"].mean()


def test_calibration_that_nothing_shows_is_told(small_plan: Plan, tmp_path: Path, capsys) -> None:
    prepared(small_plan, EXCLUSIVE, tmp_path, temperatures={"organ": 2.0})
    said = []
    for more in ([], ["--also", "uncertainty", "--overwrite"]):
        assert predict(tmp_path, "--calibrated", "--no-report", *more) == 0
        said.append("calibration changes no label map" in capsys.readouterr().err)
    assert said == [True, False]


def test_a_model_without_temperatures_says_so(small_plan: Plan, tmp_path: Path, capsys) -> None:
    prepared(small_plan, EXCLUSIVE, tmp_path)
    assert predict(tmp_path, "--calibrated", "--probabilities") == 2
    assert "autoseg select" in capsys.readouterr().err and not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="no temperatures"):
        Model.read(tmp_path / "model.zip", settings=SETTINGS).predict(
            sitk.GetImageFromArray(image().array[0]), calibrated=True
        )


KINDS = [
    ExclusiveLabels({"background": 4, "organ": 7, "lesion": 9}, ignore=11),
    RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=3),
    MaskLabels(("one", "two"), in_channels=True),
]


@pytest.mark.parametrize("labels", KINDS, ids=lambda labels: labels.KIND)
def test_planted_temperatures_of_every_kind_of_labels_are_found(labels: Labels, tmp_path: Path) -> None:
    """References are drawn from probabilities, and what is kept are those of logits twice as large."""
    grid = Geometry.plain((12, 20, 20), (2.0, 2.0, 2.0))
    record = spatial_record(grid.shape, grid.spacing, (0, 1, 2), Box.whole(grid.shape), (2.0, 2.0, 2.0))
    random, cases = np.random.default_rng(0), []
    for number in range(6):
        logits = torch.from_numpy(random.normal(0, 1, (*grid.shape, labels.heads)).astype(np.float32))
        chances = labels.probabilities(logits).numpy()
        if isinstance(labels, ExclusiveLabels):
            values = np.array(labels.values)[(chances.cumsum(-1) < random.random((*grid.shape, 1))).sum(-1).clip(0, 2)]
        elif isinstance(labels, RegionLabels):  # the core may only lie inside; the whole is drawn from what it has
            logits[..., 1] = -30  # surely none, and none there
            values = (random.random(grid.shape) < chances[..., 0]).astype(int)
        else:
            values = ((random.random(chances.shape) < chances) * [1, 2]).sum(-1)
        if labels.ignore is not None:
            values[:2] = labels.ignore
            logits[:2] = -logits[:2]  # what is not annotated would teach another
        kept, reference = tmp_path / f"{number}.b2nd", tmp_path / f"{number}.nii.gz"
        with storing(kept, record, grid, labels) as take:
            take(slice(0, 12), 2 * logits)
        write_label_map(values.astype(np.uint8), grid, (reference,), labels)
        cases.append(Unseen(f"{number}", number % 2, f"{number}", (reference,), {"a": kept}))
    found = recalibration(cases, Combined(("a",), labels, None), 1)
    assert found is not None and found.kept and set(found.learned) == set(labels.head_names)
    learned = {name: each for name, each in found.learned.items() if name != "core"}
    assert list(learned.values()) == [pytest.approx(2, rel=0.06)] * len(learned)
    for name in learned.keys() & set(labels.foreground):
        before, after = (expected_error(bins[name], 1) or 0 for bins in (found.before, found.after))
        assert after < 0.02 < 0.05 < before
        assert sum(found.before[name].voxels) == 6 * 20 * 20 * (12 if labels.ignore is None else 10)
