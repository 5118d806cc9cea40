"""Networks of single modalities, each good at another label, are weighed by label, and judged on unseen cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tasks import decoded

from autoseg.bundle.bundle import read_bundle
from autoseg.bundle.card import card
from autoseg.bundle.trained import read_trained
from autoseg.core.fusion import STAPLE
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.records import read_json, write_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.folds import make_folds
from autoseg.evaluation import selection as evaluated
from autoseg.evaluation.counts import overlaps
from autoseg.evaluation.pool import WHOLE
from autoseg.evaluation.scores import score_case, summarise, write_scores
from autoseg.evaluation.selection import Compared, Selection, report
from autoseg.inference import stored_probabilities as kept
from autoseg.inference.ensemble import Ensemble
from autoseg.inference.model import Model
from autoseg.parts.readers import read_labels, write_channels, write_labels
from autoseg.pipeline import compare
from autoseg.pipeline import select as selecting
from autoseg.pipeline.pooling import learned_pool
from autoseg.pipeline.select import select
from autoseg.plan import Plan
from autoseg.preprocessing.spatial import spatial_record
from autoseg.settings import RunSettings
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = pytest.mark.slow

NAME, CASES = "Dataset900_Small", 12
SETTINGS = RunSettings(device="cpu", precision="float32", threads=2)
GEOMETRY = Geometry.plain((10, 12, 11), (2.0, 2.0, 2.0))
EXCLUSIVE = ExclusiveLabels({"background": 0, "organ": 7, "lesion": 9}, ignore=12)
REGIONS = RegionLabels({"whole": (7, 9), "lesion": (9,)}, (7, 9))
SEEN = {"3d_fullres_T1": (0,), "3d_fullres_T2": (1,), "3d_fullres_PD": (2,)}
SKILL = {"3d_fullres_T1": (3.0, 3.0, -1.0), "3d_fullres_T2": (3.0, -1.0, 3.0), "3d_fullres_PD": (-2.0, -2.0, -2.0)}
"""How well each knows background, organ and lesion; the last one is mostly wrong."""


def reference(number: int, labels: Labels) -> np.ndarray:
    found = np.zeros(GEOMETRY.shape, np.int64)
    z, y, x = np.random.default_rng(number).integers(0, 3, 3)
    found[z : z + 6, y : y + 7, x : x + 4], found[z : z + 6, y : y + 7, x + 4 : x + 8] = 7, 9
    found[0, 0] = labels.ignore or 0
    return found


def logits(number: int, name: str, labels: Labels) -> torch.Tensor:
    """(heads, z, y, x) on the file's grid."""
    truth = replace(labels, ignore=None).encode(reference(number, replace(labels, ignore=None)))
    on = torch.from_numpy(labels.index_table[:, truth]).float()
    torch.manual_seed(1000 * sorted(SEEN).index(name) + number)
    skill = torch.tensor(SKILL[name][-labels.heads :]).view(-1, 1, 1, 1)
    return skill * (2 * on - 1) + 1.5 * torch.randn(on.shape)


def with_channels(plan: Plan, labels: Labels, name: str) -> Plan:
    one = plan.configurations["3d_fullres"]
    one = replace(one, normalizers=one.normalizers * 3, channels=SEEN[name])
    channels = ("T1", "T2", "PD")
    return replace(
        plan, channels=channels, labels=labels, configurations={name: one}, default=name, axis_order=(0, 1, 2)
    )


@pytest.fixture(params=[EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
def files(request: pytest.FixtureRequest, small_plan: Plan, tmp_path: Path) -> DatasetFolder:
    """A workspace as cross-validations of three configurations leave it."""
    labels: Labels = request.param
    files, cases = Workspace(tmp_path / "workspace").dataset_folder(NAME), []
    for number in range(CASES):
        images = [tmp_path / f"image_{number}_{channel}.nii.gz" for channel in range(3)]
        for path in images:
            write_channels((reference(number, labels)[None] + 1).astype(np.float32), GEOMETRY, path)
        write_labels(reference(number, labels).astype(np.uint8), GEOMETRY, tmp_path / f"label_{number}.nii.gz")
        cases.append(Case.of_files(f"case_{number}", map(str, images), str(tmp_path / f"label_{number}.nii.gz")))
    dataset = Dataset(NAME, "x", ("T1", "T2", "PD"), labels, tuple(cases), ".nii.gz", "nnunet")
    folds = make_folds(dataset.keys, count=3)
    write_json(files.dataset, dataset)
    write_json(files.folds, folds)
    for name in SEEN:
        for fold, split in enumerate(folds.folds):
            train(files, with_channels(small_plan, labels, name), str(fold), split.validation)
    return files


def train(files: DatasetFolder, plan: Plan, fold: str, keys: tuple[str, ...]) -> None:
    run = files.run(plan.default, fold)
    write_json(run.effective, plan)
    torch.manual_seed(int(fold))
    save_file(plan.task().network().state_dict(), run.weights)
    record = spatial_record(GEOMETRY.shape, GEOMETRY.spacing, (0, 1, 2), Box.whole(GEOMETRY.shape), (2.0, 2.0, 2.0))
    scores = {}
    for key in keys:
        found = logits(int(key[5:]), plan.default, plan.labels)
        with kept.storing(run.kept(key), record, GEOMETRY, plan.labels) as watch:
            watch(slice(0, GEOMETRY.shape[0]), found.movedim(0, -1))
        predicted = decoded(plan.labels, found.numpy()).astype(np.uint8)
        write_labels(predicted, GEOMETRY, run.validation / f"{key}.nii.gz")
        kept.note_label_map(run.kept(key), (run.validation / f"{key}.nii.gz",))
        scores[key] = score_case(reference(int(key[5:]), plan.labels), predicted, plan.labels, GEOMETRY)
    write_scores(run.validation, summarise(scores))


def unseen(files: DatasetFolder) -> list[compare.Unseen]:
    dataset = files.read_dataset()
    return [
        compare.Unseen(
            key, fold, key, dataset.case(key).label_files, {name: files.run(name, str(fold)).kept(key) for name in SEEN}
        )
        for fold, split in enumerate(files.read_folds().folds)
        for key in split.validation
    ]


def test_each_label_is_given_to_who_knows_it_and_who_knows_none_is_left_out(files: DatasetFolder) -> None:
    labels = files.read_dataset().labels
    pool = learned_pool(unseen(files), list(SEEN), labels, workers=2)
    assert pool is not None and pool.members == ("3d_fullres_T1", "3d_fullres_T2")
    assert (pool.shares.sum(0) == WHOLE).all()
    weights = pool.named(labels.head_names)
    assert weights["3d_fullres_T2"]["lesion"] > 0.8
    assert weights["3d_fullres_T1"]["organ" if labels.exclusive else "whole"] > (0.8 if labels.exclusive else 0.5)
    assert {*pool.without} == {f"case_{number}" for number in range(CASES)}
    assert all((shares.sum(0) == WHOLE).all() for shares in pool.without.values())


def test_a_case_has_no_say_in_its_own_weights(files: DatasetFolder) -> None:
    """Whatever is kept of the cases of a fold, their own weights stay."""
    labels, cases = files.read_dataset().labels, unseen(files)
    before = learned_pool(cases, list(SEEN), labels, workers=1)
    assert before is not None
    others = [case for case in cases if case.fold != 0]
    paths = {name: others[0].kept[name] for name in SEEN}
    turned = dict(zip(SEEN, [paths["3d_fullres_T2"], paths["3d_fullres_T1"], paths["3d_fullres_PD"]]))
    odd = [replace(case, kept=turned, reference=others[0].reference) if case.fold == 0 else case for case in cases]
    after = learned_pool(odd, list(SEEN), labels, workers=1)
    assert after is not None and after.members == before.members
    own = [case.key for case in cases if case.fold == 0]
    for key in own:
        np.testing.assert_array_equal(after.without[key], before.without[key])
    assert any((after.without[case.key] != before.without[case.key]).any() for case in others)


def test_it_is_scored_as_if_it_were_predicted(files: DatasetFolder) -> None:
    labels, cases = files.read_dataset().labels, unseen(files)
    pool = learned_pool(cases, list(SEEN), labels, workers=1)
    assert pool is not None
    tried = compare.ensembles(list(SEEN))
    found = compare.overlaps_of(cases, tried, labels, workers=2, pool=pool)
    assert len(found) == len(tried) + 1
    for case, matrix in zip(cases, found[-1]):
        codes = [kept.open_stored(case.kept[name]).read(slice(0, 10)).double().numpy() for name in pool.members]
        total = sum(
            code * share.reshape(-1, 1, 1, 1) for code, share in zip(codes, pool.without[case.key] / (255 * WHOLE))
        )
        expected = decoded(labels, kept.mean_logits(torch.from_numpy(total), labels).numpy())
        predicted = compare.label_map(case, pool.members, labels, pool)
        assert (predicted != expected).mean() < 0.001  # sums of whole numbers decide ties that rounding may turn
        theirs = compare.reference_of(case, case.opened(pool.members)[0].geometry, labels)
        np.testing.assert_array_equal(matrix, overlaps(labels.encode(predicted), theirs, labels))
    np.testing.assert_array_equal(found[:-1], compare.overlaps_of(cases, tried, labels, workers=1))


def test_staple_is_scored_as_if_it_were_predicted(files: DatasetFolder) -> None:
    labels, cases = files.read_dataset().labels, unseen(files)
    tried = compare.ensembles(list(SEEN))
    stapled = [members for members in tried if len(members) > 1]
    found = compare.overlaps_of(cases, tried, labels, workers=2, stapled=stapled)
    np.testing.assert_array_equal(found[: len(tried)], compare.overlaps_of(cases, tried, labels, workers=1))
    for number, members in enumerate(stapled, len(tried)):
        for case, matrix in zip(cases, found[number]):
            predicted = compare.label_map(case, members, labels, staple=True)
            theirs = compare.reference_of(case, case.opened(members)[0].geometry, labels)
            np.testing.assert_array_equal(matrix, overlaps(labels.encode(predicted), theirs, labels))


def test_the_model_that_select_writes_predicts_by_staple_where_that_is_best(
    files: DatasetFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not be here: means are told to be worse than they are."""
    judge = evaluated.rank

    def rank(tried: list[compare.Members], scores: np.ndarray, *rest: object) -> tuple[Compared, ...]:
        count = len(tried)
        return judge(tried, np.concatenate((scores[:count] * 0, scores[count:-1], scores[-1:] * 0)), *rest)

    monkeypatch.setattr(selecting, "rank", rank)
    selection = select(files, mirroring=False, settings=SETTINGS)
    assert selection.chosen.combined == STAPLE and selection.chosen.name.endswith(", STAPLE")
    assert selection.chosen.weights is None and len(selection.compared) == 7 + 4 + 1
    assert f"chosen: {selection.chosen.name}" in report(selection)
    written = read_json(files.selection / "selection.json", Selection)
    assert written.chosen.combined == STAPLE
    manifest = read_bundle(files.selected).manifest
    assert manifest.combined == STAPLE and manifest.label_weights == {}
    labels = files.read_dataset().labels
    for case in unseen(files):
        predicted = read_labels(files.selection / "validation" / f"{case.key}.nii.gz")[0]
        if not manifest.postprocessing:
            expected = compare.label_map(case, selection.chosen.members, labels, staple=True)
            np.testing.assert_array_equal(predicted, expected)
    model = Model.read(files.selected, settings=SETTINGS)
    assert isinstance(model, Ensemble) and model.combined == STAPLE
    image = np.random.default_rng(0).normal(size=(3, *GEOMETRY.shape)).astype(np.float32)
    assert model.predict(image, spacing=GEOMETRY.spacing).shape == GEOMETRY.shape
    assert f"STAPLE of {', '.join(manifest.ensemble)}" in card(read_trained(files.selected))


def lacking(cases: list[compare.Unseen], name: str, keys: set[str]) -> list[compare.Unseen]:
    """The cases ``keys`` as if they lacked the channel that ``name`` sees."""
    return [
        replace(case, kept={other: path for other, path in case.kept.items() if other != name}, absent=SEEN[name])
        if case.key in keys
        else case
        for case in cases
    ]


def test_in_a_case_without_a_channel_the_others_decide(files: DatasetFolder) -> None:
    labels, every = files.read_dataset().labels, unseen(files)
    cases = lacking(every, "3d_fullres_T2", {"case_1", "case_4"})
    whole, pool = (learned_pool(each, list(SEEN), labels, workers=1) for each in (every, cases))
    assert whole is not None and pool is not None and {*pool.without} == {*whole.without}
    tried = [members for members in compare.ensembles(list(SEEN)) if members != ("3d_fullres_T2",)]
    found = compare.overlaps_of(cases, tried, labels, workers=1, pool=pool, stapled=[tuple(SEEN)])
    alone = [members for members in tried if "3d_fullres_T2" not in members]
    for number, case in enumerate(cases):
        if case.absent:
            assert found[tried.index(("3d_fullres_T1", "3d_fullres_T2")), number].tolist() == (
                found[tried.index(("3d_fullres_T1",)), number].tolist()
            )
            both = compare.label_map(every[number], ("3d_fullres_T1", "3d_fullres_PD"), labels, staple=True)
            np.testing.assert_array_equal(compare.label_map(case, tuple(SEEN), labels, staple=True), both)
            shares = pool.shares_without(case.key, case.seen_by(pool.members))
            assert (shares.sum(0) == WHOLE).all() and len(shares) == len(pool.members) - 1
    np.testing.assert_array_equal(
        compare.overlaps_of(every, alone, labels, workers=1), found[[tried.index(each) for each in alone]]
    )


def test_nothing_is_weighed_where_no_two_folds_have_cases_that_all_see(files: DatasetFolder) -> None:
    cases = unseen(files)
    cases = lacking(cases, "3d_fullres_PD", {case.key for case in cases if case.fold})
    assert learned_pool(cases, list(SEEN), files.read_dataset().labels, workers=1) is None


def test_the_best_model_weighs_by_label_and_predicts_so(files: DatasetFolder) -> None:
    labels = files.read_dataset().labels
    selection = select(files, mirroring=False, settings=SETTINGS)
    chosen = selection.chosen
    assert chosen.name == "3d_fullres_T1 + 3d_fullres_T2, weighed by label" and chosen.weights is not None
    means = {model.name: model.dice.mean or 0.0 for model in selection.compared}
    assert means[chosen.name] > means["3d_fullres_T1 + 3d_fullres_T2"] > means["3d_fullres_PD"]
    assert "weights of 3d_fullres_T1: " in report(selection)
    manifest = read_bundle(files.selected).manifest
    weights = {name: tuple(of.values()) for name, of in chosen.weights.items()}
    assert manifest.label_weights == weights
    assert manifest.ensemble == pytest.approx({name: sum(of) / len(of) for name, of in weights.items()})
    model = Model.read(files.selected, settings=SETTINGS)
    assert model.of_heads == tuple(weights.values()) and all(len(of) == labels.heads for of in model.of_heads)
    image = np.random.default_rng(0).normal(size=(3, *GEOMETRY.shape)).astype(np.float32)
    assert model.predict(image, spacing=GEOMETRY.spacing).shape == GEOMETRY.shape


def test_without_networks_of_some_channels_nothing_is_weighed(files: DatasetFolder, small_plan: Plan) -> None:
    for name in SEEN:
        for run in files.folds_of(name):
            plan = run.read_plan()
            whole = replace(plan.configurations[name], channels=None)
            write_json(run.effective, replace(plan, configurations={name: whole}))
            torch.manual_seed(0)
            save_file(run.read_plan().task().network().state_dict(), run.weights)
    selection = select(files, mirroring=False, settings=SETTINGS)
    assert all(model.weights is None for model in selection.compared) and len(selection.compared) == 7
    assert read_bundle(files.selected).manifest.label_weights == {}


def test_of_a_single_patient_nothing_can_be_held_out(files: DatasetFolder) -> None:
    cases = [replace(case, patient="one", fold=0) for case in unseen(files)]
    assert learned_pool(cases, list(SEEN), files.read_dataset().labels, workers=1) is None
