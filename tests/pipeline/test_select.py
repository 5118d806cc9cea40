"""Every ensemble is scored on unseen cases as if it had been predicted, and the best becomes one model."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from cross_validated import CASES, GEOMETRY, NAME, SETTINGS, files, plans, reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tasks import decoded

from autoseg.bundle.bundle import read_bundle
from autoseg.cli import main
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.core.records import read_json, write_json
from autoseg.corrections import Correction
from autoseg.data.label_maps import write_label_map
from autoseg.errors import ModelError, UsageError, WorkspaceError
from autoseg.evaluation.counts import overlaps
from autoseg.evaluation.learn import Learned
from autoseg.evaluation.scores import Summary, score_case
from autoseg.evaluation.selection import report
from autoseg.inference import stored_probabilities as kept
from autoseg.parts.postprocessors import largest_component
from autoseg.parts.readers import read_labels
from autoseg.pipeline import compare
from autoseg.pipeline.select import select
from autoseg.preprocessing.spatial import not_resampled, spatial_record
from autoseg.workspace import Workspace

__all__ = ["files"]
pytestmark = pytest.mark.slow
LABELS = [
    ExclusiveLabels({"background": 0, "a": 3, "b": 1}),
    RegionLabels({"whole": (1, 2, 3), "core": (2, 3), "inner": (3,)}, (1, 2, 3), ignore=9),
    MaskLabels(("a", "b", "c"), in_channels=True),
]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(LABELS), st.integers(0, 2**20), st.integers(1, 3), st.sampled_from([0.3, 3.0]))
def test_an_ensemble_is_scored_as_if_it_were_predicted(tmp_path_factory, labels: Labels, seed, count, scale):
    folder, box = tmp_path_factory.mktemp("kept"), Box((1, 0, 2), (9, 9, 11))
    geometry = Geometry.plain((9, 11, 10), (3.0, 1.0, 1.0))
    record = spatial_record(geometry.shape, geometry.spacing, (2, 0, 1), box, (2.0, 2.0, 2.0))
    torch.manual_seed(seed)
    allowed = [*labels.values, *(() if labels.ignore is None else (labels.ignore,))]
    truth = np.random.default_rng(seed).choice(allowed, geometry.shape)
    write_label_map(truth, geometry, (folder / "reference.nii.gz",), labels)
    chances, paths = {}, {}
    for name in "abc"[:count]:
        found = scale * torch.randn(labels.heads, *box.shape)
        paths[name] = folder / f"{name}.b2nd"
        with pytest.MonkeyPatch.context() as patch, kept.storing(paths[name], record, geometry, labels) as watch:
            patch.setattr(kept, "CHUNK_VOXELS", 2 * 81)
            watch(slice(0, 8), found.movedim(0, -1))
        chances[name] = kept.open_stored(paths[name]).read(slice(0, 8)).long()
    case = compare.Unseen("case", 0, "case", (folder / "reference.nii.gz",), paths)
    tried = compare.ensembles(list(paths))
    assert len(tried) == 2**count - 1
    found = compare.overlaps_of([case], tried, labels, workers=1)
    for number, members in enumerate(tried):
        mean = sum(chances[name] for name in members) / (255.0 * len(members))
        expected = np.full(geometry.shape, labels.values[0])
        inner = record.split()[0].apply(expected, not_resampled)
        inner[...] = decoded(labels, kept.mean_logits(mean, labels).numpy())
        np.testing.assert_array_equal(compare.label_map(case, members, labels), expected)
        counted = overlaps(labels.encode(expected), labels.encode(truth), labels)
        np.testing.assert_array_equal(found[number, 0], counted)


def test_the_best_becomes_one_model_with_what_was_found(files, capsys):
    words = ("select", NAME, "--device", "cpu", "--threads", "2", "--workspace", str(files.root.parent))
    assert main([*words, "--precision", "float32"]) == 0
    said = capsys.readouterr().out
    bundle = read_bundle(files.selected)
    bundle.verify()
    manifest = bundle.manifest
    assert manifest.ensemble == {"2d": 0.5, "3d_fullres": 0.5}
    assert manifest.configurations == {"2d": ("0", "1"), "3d_fullres": ("0", "1")}
    assert bundle.weights("2d", "1") == files.run("2d", "1").weights.read_bytes()
    assert Correction("organ", largest_component.Spec()) in manifest.postprocessing
    assert manifest.licence == "CC BY 4.0" and manifest.citation == "Doe 2026"
    assert set(manifest.mirroring) == {"2d", "3d_fullres"}
    assert manifest.mirroring["3d_fullres"].passes == 8 and manifest.mirroring["2d"].passes == 4
    assert manifest.mirroring["2d"].difference.cases == CASES
    assert "largest_component of organ" in said and "2d + 3d_fullres" in said.splitlines()[1]
    written = json.loads((files.selection / "selection.json").read_text())
    assert written["compared"][0]["members"] == ["2d", "3d_fullres"] and len(written["compared"]) == 3
    assert written["compared"][1]["to_chosen"]["difference"]["mean"] < 0
    assert written["postprocessing"]["gain"]["better"] == CASES and f"cases better {CASES}, worse 0" in said
    with (files.selection / "selection.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["model"] == "2d + 3d_fullres"
    assert float(rows[0]["organ"]) == pytest.approx(written["compared"][0]["labels"]["organ"]["mean"], abs=1e-5)


def test_scores_of_the_model_are_those_of_its_predictions(files):
    selection = select(files, mirroring=False, settings=SETTINGS)
    found = []
    for number in range(CASES):
        predicted, geometry = read_labels(files.selection / "validation" / f"case_{number}.nii.gz")
        assert geometry == GEOMETRY
        found.append(score_case(reference(number), predicted, ExclusiveLabels({"background": 0, "organ": 7}), geometry))
    mean = np.mean([row["organ"]["dice"] for row in found])
    assert selection.scores.overall["dice"].mean == pytest.approx(mean)
    assert mean > (selection.chosen.dice.mean or 1)  # postprocessing helps
    assert read_bundle(files.selected).manifest.mirroring == {}


def test_selecting_again_replaces_the_model(files):
    select(files, mirroring=False, settings=SETTINGS)
    (files.selection / ".writing-999999999-0123abcd-selection.csv").write_bytes(b"half")
    select(files, configurations=["2d"], mirroring=False, settings=SETTINGS)
    assert read_bundle(files.selected).manifest.ensemble == {"2d": 1.0}
    assert not list(files.root.rglob(".writing-*"))


def test_an_unfinished_configuration_is_named_and_the_others_compared(files):
    files.run("2d", "1").weights.unlink()
    selection = select(files, mirroring=False, settings=SETTINGS)
    assert selection.missing == {"2d": "fold 1 is not trained"} and selection.chosen.members == ("3d_fullres",)
    with pytest.raises(WorkspaceError, match="2d: fold 1 is not trained"):
        select(files, configurations=["2d"], settings=SETTINGS)


def test_finished_folds_can_be_compared_alone(files):
    files.run("2d", "1").weights.unlink()
    selection = select(files, folds=["0"], mirroring=False, settings=SETTINGS)
    assert selection.missing == {} and selection.folds == ("0",)
    assert read_bundle(files.selected).manifest.configurations["2d"] == ("0",)


@pytest.mark.parametrize("fold", ["all", "2", "x"])
def test_a_fold_without_unseen_cases_is_refused(files, fold):
    with pytest.raises(UsageError, match="fold"):
        select(files, folds=[fold], settings=SETTINGS)


def test_folds_trained_before_probabilities_were_kept_are_named(files):
    for fold in ("0", "1"):
        shutil.rmtree(files.run("2d", fold).probabilities)
    with pytest.raises(WorkspaceError, match="no probabilities of its validation cases"):
        select(files, configurations=["2d"], settings=SETTINGS)


def test_nothing_trained_says_so(files, tmp_path):
    empty = Workspace(tmp_path / "other").dataset_folder(NAME)
    for name in ("dataset.json", "folds.json"):
        empty.root.mkdir(parents=True, exist_ok=True)
        (empty.root / name).write_bytes((files.root / name).read_bytes())
    with pytest.raises(WorkspaceError, match="nothing was trained"):
        select(empty, settings=SETTINGS)


def test_configurations_of_different_plans_are_not_averaged(files, small_plan):
    for fold in ("0", "1"):
        write_json(files.run("2d", fold).effective, replace(plans(small_plan)["2d"], mirror_axes=(1,)))
    with pytest.raises(ModelError, match="mirror_axes differ"):
        select(files, settings=SETTINGS)


def test_intervals_and_tests_go_by_patient_where_they_are_named(files):
    """Pairs of scans of one patient, in one fold: half as many patients count, and fewer than six teach nothing."""
    by_case = select(files, mirroring=False, settings=SETTINGS)
    assert by_case.patients == by_case.cases == CASES
    splits = files.read_folds()
    patients = {
        key: f"{fold}-{n // 2}" for fold, split in enumerate(splits.folds) for n, key in enumerate(split.validation)
    }
    write_json(files.folds, replace(splits, patients=patients))
    selection = select(files, settings=SETTINGS)
    assert (selection.cases, selection.patients) == (CASES, CASES // 2)
    assert "16 cases of 8 patients; intervals and tests go by patient" in report(selection)
    assert selection.compared[1].to_chosen.better + selection.compared[1].to_chosen.worse <= CASES // 2
    assert selection.chosen.dice.mean == by_case.chosen.dice.mean and selection.chosen.dice != by_case.chosen.dice
    assert selection.postprocessing.corrections == () and by_case.postprocessing.corrections
    assert read_json(files.selection / "validation" / "scores.json", Summary).patients == patients
    (with_it,) = {test.dice_with.cases for test in selection.mirroring.values()}
    assert with_it == CASES


def test_of_a_single_fold_cases_are_parted_and_a_gain_that_is_not_sure_is_told(files):
    one = select(files, folds=["0"], mirroring=False, settings=SETTINGS)
    assert one.cases == CASES // 2 and one.postprocessing.gain.better == CASES // 2
    assert Correction("organ", largest_component.Spec()) in one.postprocessing.corrections
    assert "gain on held-out cases: Dice +" in report(one)
    unsure = replace(one, postprocessing=replace(one.postprocessing, corrections=()))
    assert "postprocessing: none, no gain is sure; gain on held-out cases: Dice +" in report(unsure)
    nothing = replace(one, postprocessing=Learned((), replace(one.postprocessing.gain, better=0, worse=0)))
    assert "postprocessing: none, no correction surely helps" in report(nothing)
    assert "postprocessing: none, it is learned from 6 cases or more" in report(replace(one, cases=2, patients=2))
    assert "postprocessing: none, it is learned from 6 patients or more" in report(replace(one, patients=2))
    (chosen, *rivals) = one.compared
    alike = [replace(each, to_chosen=replace(each.to_chosen, p=0.5)) for each in rivals]
    said = report(replace(one, compared=(chosen, *alike)))
    name = alike[0].members[0]
    assert (
        f"no clear difference between {name} and the chosen model, p = 0.5; it predicts faster, and -c {name}" in said
    )
