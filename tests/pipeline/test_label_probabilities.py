"""ROC of probabilities that lie beside label maps: of both kinds of files, of labels, regions and masks, by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from run_settings import SETTINGS
from small_models import EXCLUSIVE, GEOMETRY, REGIONS, bundle, image, plan_of

from autoseg.cli import main
from autoseg.core.labels import Labels
from autoseg.core.masks import MaskLabels
from autoseg.core.records import read_json
from autoseg.data.label_maps import files_in, read_label_map, write_label_map
from autoseg.data.layouts import find_images
from autoseg.errors import DatasetError, UsageError
from autoseg.evaluation.scores import Summary
from autoseg.inference.model import Model
from autoseg.inference.outputs import chosen
from autoseg.parts.metrics import roc
from autoseg.parts.readers import read_image, write_channels
from autoseg.pipeline.evaluate import evaluate
from autoseg.pipeline.predict import predict
from autoseg.plan import Plan

pytestmark = pytest.mark.slow

MASKS = MaskLabels(("one", "two"))
CASES = ("case0", "case1")


def predicted(small_plan: Plan, labels: Labels, folder: Path, kind: str = "uint8") -> tuple[Path, Path]:
    """Predictions with probabilities of both kinds, and a reference: the label maps, moved by a voxel."""
    path = bundle(folder / "model.zip", plan_of(small_plan, labels), {"3d_fullres": 0.5, "2d": 0.5})
    model = Model.read(path, settings=SETTINGS)
    for number, key in enumerate(CASES):
        write_channels(image(number).array, GEOMETRY, folder / "in" / f"{key}_0000.nii.gz")
    cases, _ = find_images([folder / "in"], 1)
    out, reference = folder / "out", folder / "reference"
    assert not predict(model, cases, out, outputs=chosen(["stored_probabilities"], kind)).failed
    for key in CASES:
        array, geometry = read_label_map(files_in(out, key, ".nii.gz", labels), labels)
        write_label_map(np.roll(array, 1, 2), geometry, files_in(reference, key, ".nii.gz", labels), labels)
    return reference, out


def only(out: Path, endings: str | tuple[str, str], to: Path) -> Path:
    """The predictions with probabilities of one kind."""
    shutil.copytree(out, to)
    for path in (to / "probabilities").iterdir():
        if not path.name.endswith(endings):
            path.unlink()
    return to


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MASKS], ids=lambda labels: labels.KIND)
def test_the_curve_is_that_of_the_labels_own_probability(small_plan: Plan, labels: Labels, tmp_path: Path) -> None:
    reference, out = predicted(small_plan, labels, tmp_path)
    found = evaluate(reference, only(out, ".nii.gz", tmp_path / "written"), metrics=["roc"])
    assert list(found.labels) == list(labels.foreground)
    for key in CASES:
        chances = read_image([out / "probabilities" / f"{key}.nii.gz"]).array
        truth, _ = read_label_map(files_in(reference, key, ".nii.gz", labels), labels)
        for name, values in labels.foreground.items():
            codes = np.rint(chances[labels.head_names.index(name)] * roc.ONE).astype(np.uint16)
            expected = roc.Spec().score(np.isin(truth, values), codes, (1.0,))
            assert {metric: found.cases[key][name][metric] for metric in expected} == pytest.approx(expected)
            assert 0.3 < expected["auc"] < 1
    stored = evaluate(reference, only(out, (".b2nd", ".json"), tmp_path / "stored"), metrics=["roc"])
    for name in labels.foreground:  # whose codes differ by one at most
        assert stored.labels[name]["auc"].mean == pytest.approx(found.labels[name]["auc"].mean, abs=2e-3)


def test_16_bits_and_floats_are_probabilities_as_well(small_plan: Plan, tmp_path: Path) -> None:
    areas = []
    for kind in ("uint8", "uint16", "float32"):
        reference, out = predicted(small_plan, EXCLUSIVE, tmp_path / kind, kind)
        areas.append(evaluate(reference, only(out, ".nii.gz", tmp_path / f"{kind} only"), metrics=["roc"]))
    for summary in areas:
        assert summary.overall["auc"].mean == pytest.approx(areas[1].overall["auc"].mean, abs=2e-3)
    assert areas[1].overall["auc"].mean == pytest.approx(areas[2].overall["auc"].mean, abs=1e-5)


def test_heads_are_found_by_their_names(small_plan: Plan, tmp_path: Path) -> None:
    """The regions of the reference may stand in another order than those of the model."""
    reference, out = predicted(small_plan, REGIONS, tmp_path)
    names = json.loads((out / "dataset.json").read_text())
    turned = {"labels": {"background": 0, "core": [2], "whole": [1, 2]}, "regions_class_order": [2, 1]}
    (reference / "dataset.json").write_text(json.dumps(names | turned))
    found = evaluate(reference, out, metrics=["roc"])
    (reference / "dataset.json").write_text(json.dumps(names))
    expected = evaluate(reference, out, metrics=["roc"])
    assert list(found.labels) == ["core", "whole"] and list(expected.labels) == ["whole", "core"]
    for name in REGIONS.foreground:
        assert found.labels[name]["auc"] == expected.labels[name]["auc"]
    assert found.labels["core"]["auc"].mean != found.labels["whole"]["auc"].mean


def test_the_command_prints_the_area_and_writes_the_points(small_plan: Plan, tmp_path: Path, capsys) -> None:
    reference, out = predicted(small_plan, EXCLUSIVE, tmp_path)
    words = ["evaluate", str(reference), str(out), "--metrics", "roc,confusion", "-o", str(tmp_path / "scores")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "auc" in said and "specificity" in said and "sensitivity_at" not in said
    summary = read_json(tmp_path / "scores" / "scores.json", Summary)
    assert summary.overall["sensitivity_at_0.5"].mean is not None
    two = evaluate(reference / "case1.nii.gz", out / "case1.nii.gz", metrics=["roc"], labels=out / "dataset.json")
    assert two.cases["case1"]["organ"]["auc"] == pytest.approx(summary.cases["case1"]["organ"]["auc"], rel=1e-5)


def test_missing_probabilities_stop_it_before_anything_is_scored(small_plan: Plan, tmp_path: Path) -> None:
    reference, out = predicted(small_plan, EXCLUSIVE, tmp_path)
    for path in (out / "probabilities").glob("case1*"):
        path.unlink()
    with pytest.raises(UsageError, match=r"case case1: .*case1\.nii\.gz, which `autoseg predict --probabilities`"):
        evaluate(reference, out, metrics=["roc"], output=tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_probabilities_of_other_labels_or_of_another_image_are_refused(small_plan: Plan, tmp_path: Path) -> None:
    reference, out = predicted(small_plan, EXCLUSIVE, tmp_path)
    written = only(out, ".nii.gz", tmp_path / "written")
    path = written / "probabilities" / "case0.nii.gz"
    chances = read_image([path])
    write_channels(chances.array[:2], GEOMETRY, path)
    with pytest.raises(DatasetError, match=r"has 2 channels, expected 3, one for each of background, organ, lesion"):
        evaluate(reference, written, metrics=["roc"])
    smaller = GEOMETRY.plain((8, 14, 11), GEOMETRY.spacing)
    write_channels(chances.array[:, :8], smaller, path)
    with pytest.raises(DatasetError, match=r"8 x 14 x 11 voxels are not those of the label map"):
        evaluate(reference, written, metrics=["roc"])
    names = json.loads((out / "dataset.json").read_text())
    renamed = {"background": 4, "organ": 7, "other": 9}
    (reference / "dataset.json").write_text(json.dumps(names | {"labels": renamed}))
    with pytest.raises(DatasetError, match=r"holds no probability of 'other', but of background, organ, lesion"):
        evaluate(reference, out, metrics=["roc"])
