"""What a model knows of the quality of its predictions: learned of its folds or of the ensemble that was selected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cross_validated import CASES, SETTINGS, files, logits
from small_models import EXCLUSIVE, REGIONS, plan_of

from autoseg.bundle.bundle import read_bundle
from autoseg.bundle.trained import read_trained
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import ExclusiveLabels, Labels
from autoseg.core.masks import MaskLabels
from autoseg.core.records import read_json, write_json
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint
from autoseg.data.training_ranges import Range
from autoseg.evaluation.predicted_dice import learn
from autoseg.evaluation.quality_table import Quality, write_quality
from autoseg.evaluation.scores import Summary
from autoseg.inference import stored_probabilities as kept
from autoseg.inference.outputs import OutputContext
from autoseg.inference.outputs.agreement import Spec
from autoseg.inference.readout import Slab
from autoseg.pipeline.compare import Unseen
from autoseg.pipeline.export_bundle import describe
from autoseg.pipeline.kept_agreement import agreements
from autoseg.pipeline.model_quality import quality_of, seen_in
from autoseg.pipeline.select import select
from autoseg.plan import Plan
from autoseg.preprocessing.spatial import spatial_record
from autoseg.workspace import DatasetFolder

__all__ = ["files"]
MASKS = MaskLabels(("one", "two"), in_channels=True)


def note_quality(files: DatasetFolder, configuration: str) -> None:
    """As validation notes it: agreement that rises with the Dice."""
    for fold in ("0", "1"):
        run = files.run(configuration, fold)
        found = read_json(run.scores, Summary)
        rows = {key: {"organ": Quality(0.5 + row["organ"]["dice"] / 2)} for key, row in found.cases.items()}
        write_quality(run.validation / "quality.csv", rows)


@pytest.mark.slow
def test_lines_and_ranges_are_learned_of_trained_folds_and_exported(files: DatasetFolder) -> None:
    note_quality(files, "2d")
    case = CaseFingerprint((10, 12, 11), (2.0, 2.0, 2.0), (10, 12, 11), 1.0, "", orientation="LPS", labels=(1,))
    write_json(files.fingerprint, Fingerprint({f"case_{number}": case for number in range(CASES)}, ()))
    trained = read_trained(files.runs("2d"))
    known = quality_of(trained)
    line = known.lines["organ"]
    assert (line.slope, line.intercept) == pytest.approx((2, -1), abs=1e-3) and line.cases == CASES
    assert line.error == pytest.approx(0, abs=1e-5) and line.r == pytest.approx(1)
    assert known.training is not None and known.training.extent["feet-head"] == Range(20, 20)
    assert (known.training.labels, known.training.cases) == (("organ",), CASES)
    manifest = describe(trained)
    assert manifest.predicted_dice == known.lines and manifest.training == known.training
    assert "case_" not in str(manifest.training) and "case_" not in str(manifest.predicted_dice)


@pytest.mark.slow
def test_of_a_dataset_that_has_other_labels_or_channels_now_no_ranges_are_known(files: DatasetFolder) -> None:
    case = CaseFingerprint((10, 12, 11), (2.0, 2.0, 2.0), (10, 12, 11), 1.0, "", orientation="LPS", labels=(1, 2))
    write_json(files.fingerprint, Fingerprint({f"case_{number}": case for number in range(CASES)}, ()))
    dataset, trained = files.read_dataset(), read_trained(files.runs("2d"))
    more = ExclusiveLabels({**trained.plan.labels.names, "added": 9})
    for changed in (replace(dataset, labels=more), replace(dataset, channels=("CT",))):
        write_json(files.dataset, changed)
        assert quality_of(trained).training is None


@pytest.mark.slow
def test_folds_of_before_know_nothing_and_what_is_damaged_is_told(
    files: DatasetFolder, caplog: pytest.LogCaptureFixture
) -> None:
    trained = read_trained(files.runs("2d"))
    assert quality_of(trained) == quality_of(None)
    assert seen_in(files.run("2d", "0")) == [] and not caplog.records
    note_quality(files, "2d")
    (files.run("2d", "1").validation / "quality.csv").write_text("mine")
    files.fingerprint.write_text("{}")
    assert quality_of(trained) == quality_of(None)
    assert "quality.csv: its columns must be" in caplog.text and "fingerprint.json" in caplog.text


@pytest.mark.slow
def test_of_an_ensemble_agreement_is_that_of_its_mean(files: DatasetFolder) -> None:
    """By hand: the mean of both configurations' probabilities, and the scores of the model that was selected."""
    select(files, mirroring=False, settings=SETTINGS)
    manifest = read_bundle(files.selected).manifest
    dice = read_json(files.selection / "validation" / "scores.json", Summary).cases
    agreement = []
    for number in range(CASES):
        mean = sum(logits(number, seed).softmax(0)[1] for seed in (0, 1)) / 2
        decided = mean > 0.5
        agreement.append(float(2 * mean[decided].sum() / (mean.sum() + decided.sum())))
    slope, intercept = np.polyfit(agreement, [dice[f"case_{number}"]["organ"]["dice"] for number in range(CASES)], 1)
    line = manifest.predicted_dice["organ"]
    assert line.cases == CASES and not line.pooled
    assert [line.slope * each + line.intercept for each in agreement] == pytest.approx(
        [max(slope, 0) * each + intercept for each in agreement], abs=0.02
    )


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MASKS], ids=lambda labels: labels.KIND)
def test_kept_probabilities_agree_as_the_logits_did(small_plan: Plan, labels: Labels, tmp_path: Path) -> None:
    geometry = Geometry.plain((9, 11, 10), (3.0, 1.0, 1.0))
    record = spatial_record(geometry.shape, geometry.spacing, (2, 0, 1), Box((1, 0, 2), (9, 9, 11)), (2.0, 2.0, 2.0))
    torch.manual_seed(0)
    found = 5 * torch.randn(8, 9, 9, labels.heads)
    path = tmp_path / "a.b2nd"
    with kept.storing(path, record, geometry, labels) as watch:
        watch(slice(0, 8), found)
    with Spec().open(OutputContext(plan_of(small_plan, labels).task("3d_fullres"), geometry, record)) as writer:
        writer.take(slice(0, 8), Slab(found))
        expected = writer.close()
    case = Unseen("case", 0, "case", (tmp_path / "reference.nii.gz",), {"a": path})
    rows = agreements([case], ("a",), labels, None, 1)["case"]
    assert {*rows} == {*expected}
    for name, each in rows.items():
        assert each.agreement == pytest.approx(expected[name].expected_dice, abs=3e-3)


@pytest.mark.slow
def test_seen_are_labels_with_both_numbers(files: DatasetFolder) -> None:
    run = files.run("2d", "0")
    keys = sorted(read_json(run.scores, Summary).cases)
    write_quality(run.validation / "quality.csv", {keys[0]: {"organ": Quality(0.9)}, keys[1]: {"organ": Quality(None)}})
    (found,) = seen_in(run)
    assert (found.case, found.patient, found.label, found.agreement) == (keys[0], keys[0], "organ", 0.9)
    assert 0 < found.dice < 1 and learn([found]) == {}
